package tokenclient

import (
	"errors"
	"math"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/alarm"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// state is what a session knows of its token, and every decision that it makes: what a
// record in the store means, what a refresh came to, and what is changed by a login, a
// logout, a refusal, an answer with a token in it, and the end. It is pure: it has no lock,
// no clock and no callback, and does no I/O. A [Session] has those: it calls the methods
// with its mutex held, and does what they return. docs/architecture.md has the diagram of
// all transitions, which a test draws.
type state struct {
	held   *held // never nil
	closed bool
	late   late // of what is held

	// fence goes up with each login and logout. What began before one changes nothing
	// when it ends.
	fence uint64

	trouble *trouble     // nil: none, as in most sessions
	doubt   *doubt       // nil: what is held was not refused
	storm   *limit.Storm // nil: nothing was refused since the login
	renewal renewal
}

// trouble is what keeps a session from its token, or from the next one. It is forgotten when
// there is another token.
type trouble struct {
	left         leaving
	looks        looks
	backoff      limit.Backoff // of refreshes that somebody needs
	refusals     int           // of them in a row that the token endpoint refused, but not for good
	earlyBackoff limit.Backoff // of looks before an early refresh, which nobody needs yet
}

// troubleNow is the trouble of st, for reading.
func (st *state) troubleNow() trouble {
	if st.trouble == nil {
		return trouble{}
	}
	return *st.trouble
}

// makeTrouble is the trouble of st, for writing.
func (st *state) makeTrouble() *trouble {
	if st.trouble == nil {
		st.trouble = new(trouble)
	}
	return st.trouble
}

// makeStorm is the storm guard of st.
func (st *state) makeStorm() *limit.Storm {
	if st.storm == nil {
		st.storm = new(limit.Storm)
	}
	return st.storm
}

// held is one generation: what a session holds between one adoption and the next. It does
// not change, but when a renewed token is stored another held of the same generation takes
// its place, with the number that the token got in the store.
type held struct {
	// generation goes up with each change of what is held. A request remembers the one
	// that it was sent with: of tokens with the same text it tells which was refused.
	generation uint64

	// logouts is how often the session was logged out before, and logins how often a login
	// came while there may have been requests that had begun before it: by SetToken, or while
	// a refresh ran, in another process. They are not sent for whoever logged in.
	logouts, logins uint32

	record Record // its Token is nil if the session is empty, ended or closed

	// value is that of the header that carries the token; "" if it is made for each
	// request. The Token's AccessToken is a part of it, if it can be: the text is what
	// takes the memory.
	value [1]string

	// windows say when before its Expiry the token is refreshed: in the background from the
	// soft one on, before anything is sent from the hard one on.
	windows limit.Windows

	since time.Time // when this session began to hold the token; its monotonic clock cannot be set

	alarm alarm.Alarm // for the soft time
}

// with returns what takes h's place when its token is in the store as r.
func (h *held) with(r Record) *held {
	return &held{
		generation: h.generation, logouts: h.logouts, logins: h.logins,
		record: r, value: h.value, windows: h.windows, since: h.since,
	}
}

// usable reports whether requests may go out with h at all.
func (h *held) usable() bool { return h.record.Token != nil }

// isOf reports whether h is of the generation whose number ends with that.
func (h *held) isOf(number uint32) bool { return uint32(h.generation) == number }

// number is that of the generation.
func (h *held) number() uint64 { return h.generation }

// same reports whether h and old are of one generation, and after whether h is of a later one.
func (h *held) same(old *held) bool { return h.generation == old.generation }

func (h *held) after(old *held) bool { return h.generation > old.generation }

// known is the record that h is from.
func (h *held) known() Record { return h.record }

// login is the era of what is held, and after how many logouts of this session it is held.
func (h *held) login() (e era, logouts uint32) { return h.record.Era, h.logouts }

// token is what is sent; nil if h is not usable.
func (h *held) token() *Token { return h.record.Token }

// header returns the value of the header that carries the token; nil if it is made for each
// request.
func (h *held) header() []string {
	if h.value[0] == "" {
		return nil
	}
	return h.value[:]
}

// expires reports whether it is known when h does. A login may bring a refresh token alone,
// which is like a token that has expired since ever.
func (h *held) expires() bool {
	return !h.record.Token.Expiry.IsZero() || h.record.Token.AccessToken == ""
}

// expired reports whether the local clock says that the server will refuse h.
func (h *held) expired(now time.Time) bool { return h.expires() && !now.Before(h.record.Token.Expiry) }

// soft returns from when on h is refreshed; zero if that is never.
func (h *held) soft() time.Time { return h.windows.Soft(h.record.Token.Expiry) }

// isSoft reports whether it is time to refresh h. It reads the clock.
func (h *held) isSoft() bool { return h.expires() && h.alarm.Due(h.soft(), h.since) }

// hard returns from when on nothing should be sent with h; zero if that is never.
func (h *held) hard() time.Time { return h.windows.Hard(h.record.Token.Expiry) }

// overdue reports whether nothing should be sent with h any more.
func (h *held) overdue(now time.Time) bool { return h.expires() && !now.Before(h.hard()) }

// untilDue returns how long it is until h is to be refreshed, with a refresh each beat at least;
// not more than 0 if it is. Without anything to exchange the session learns at the hard time
// that it is over.
func (h *held) untilDue(beat time.Duration, exchangeable bool, now time.Time) time.Duration {
	due := h.soft()
	if !exchangeable {
		due = h.hard()
	}
	return limit.UntilDue(due, h.record.Token.Issued, h.since, beat, now)
}

// late is how much later than its Issued a token came that this session got from the server,
// in milliseconds, and one more; 0: it got it from elsewhere.
type late uint32

// follows returns an error unless a request that began with old may be sent with h. After a
// login that may be somebody else's it may not, if it was sent with old. If it was not, a
// login of another process that came before the refresh is no matter: this process has just
// not known of it.
func (h *held) follows(old *held, sent bool) error {
	was, now := old.record, h.record
	switch {
	case h.logouts != old.logouts:
		return ErrLoggedOut
	case now.Era == was.Era, !sent && h.logins == old.logins,
		old.sameSubject(now):
		return nil
	}
	return errOtherLogin
}

// sameSubject reports whether h and r have tokens that name the same user.
func (h *held) sameSubject(r Record) bool {
	return r.Token != nil && endpoint.SameSubject(h.record.Token.AccessToken, r.Token.AccessToken)
}

// leaving remembers what an ended session held, so that it does not come back.
type leaving struct {
	reason   error // nil: the session did not end
	record   Record
	unstored bool // a logout of this session is not in the store
}

// info tells about f, or about no refresh if f is zero.
func (st *state) info(f flight, now time.Time) RefreshInfo {
	info := RefreshInfo{Generation: st.held.generation, Cause: f.cause, Began: f.began}
	if !f.began.IsZero() {
		info.Duration = now.Sub(f.began)
	}
	if st.held.usable() {
		info.Expiry = st.held.record.Token.Expiry
	}
	return info
}

// adopt makes r, which holds a token, the next generation.
func (st *state) adopt(r Record) {
	st.held = &held{generation: st.held.generation + 1, logouts: st.held.logouts, logins: st.held.logins, record: r}
	st.trouble, st.doubt, st.late = nil, nil, 0
	st.renewal.forget()
}

// comes notes that the server has just sent what is held.
func (st *state) comes(now time.Time) {
	ms := now.Sub(st.held.record.Token.Issued).Milliseconds()
	st.late = late(1 + min(max(ms, 0), math.MaxInt32))
}

// isFromElsewhere reports whether h is held, and this session did not get it from the server.
func (st *state) isFromElsewhere(h *held) bool {
	return st.held.usable() && st.held.generation == h.generation && st.late == 0
}

// young reports whether servers may not know what is held yet, and it is worth waiting for.
// What a login brought is exchanged at once if it is refused, since it can be: it may
// have been made long before it was handed over.
func (st *state) young(now time.Time) bool {
	r, born := st.held.record, st.held.record.Token.Issued
	switch {
	case st.late > 0:
		born = born.Add(time.Duration(st.late-1) * time.Millisecond)
	case r.Number <= 1 && r.Token.RefreshToken != "":
		return false
	}
	return limit.Young(born, now)
}

// isYoung is that, if h is held.
func (st *state) isYoung(h *held, now time.Time) bool {
	return st.held.usable() && st.held.generation == h.generation && st.young(now)
}

// end ends the session for a reason that is ErrLoginRequired. One that has ended keeps its
// first reason, unless it is a logout that ends it again.
func (st *state) end(fx *effects, reason error, now time.Time) {
	old, left, logout := st.held, st.troubleNow().left, errors.Is(reason, ErrLoggedOut)
	if !old.usable() && left.reason != nil && !logout {
		return
	}
	h := &held{generation: old.generation + 1, logouts: old.logouts, logins: old.logins}
	left.reason = reason
	if logout {
		h.logouts++
		left.unstored = true
	}
	if old.usable() {
		left.record = old.record
	}
	st.held, st.doubt = h, nil
	st.trouble = &trouble{left: left, looks: looks{at: now.Add(lookInterval), err: reason}}
	st.renewal.forget()
	fx.release = true
	if old.usable() && !st.closed {
		fx.tell(sessionEnded, RefreshInfo{}, reason)
	}
}

// ended is why there is no token.
func (st *state) ended() error {
	if reason := st.troubleNow().left.reason; reason != nil {
		return reason
	}
	return ErrLoginRequired
}

// lastHeld is the record of what is held, or was when the session ended, and after how many logouts.
func (st *state) lastHeld() (last Record, logouts uint32) {
	if st.held.usable() {
		return st.held.record, st.held.logouts
	}
	return st.troubleNow().left.record, st.held.logouts
}

// loginBegins is followed by loginStored when the token is in the store. ok is false after
// the end.
func (st *state) loginBegins() (fence uint64, ok bool) {
	if st.closed {
		return 0, false
	}
	st.fence++
	return st.fence, true
}

// loginStored goes on with the login that began at fence, and left r in the store.
func (st *state) loginStored(fence uint64, r Record, now time.Time) (fx effects, err error) {
	switch {
	case st.closed:
		return fx, ErrClosed
	case st.fence != fence:
		return fx, ErrLoggedOut // and the store will be: Logout waits for this
	case !r.holdsToken():
		st.end(&fx, ErrLoginRequired, now) // another process logged out a moment later
		return fx, ErrLoggedOut
	}
	st.fence++ // a refresh that was begun while the store was written to knows less
	st.storm = nil
	st.adopt(r)
	st.held.logins++
	fx.release = true
	return fx, nil
}

// logoutBegins forgets the token. was is what was held.
func (st *state) logoutBegins(now time.Time) (fence uint64, was Record, fx effects, err error) {
	if st.closed {
		return 0, was, fx, ErrClosed
	}
	st.fence++
	was = st.held.record
	st.end(&fx, ErrLoggedOut, now)
	return st.fence, was, fx, nil
}

// logoutStored notes that the logout that began at fence is in the store.
func (st *state) logoutStored(fence uint64) {
	if st.fence == fence && st.trouble != nil {
		st.trouble.left.unstored = false
	}
}

// close ends the session for those who use it. The stored token stays, and one that is not
// stored yet is remembered.
func (st *state) close() (fx effects) {
	if !st.closed {
		st.closed = true
		st.held = &held{generation: st.held.generation + 1, logouts: st.held.logouts, logins: st.held.logins}
		st.doubt = nil
		fx.release = true
	}
	return fx
}

// isOpen reports whether that has not been.
func (st *state) isOpen() bool { return !st.closed }

// begins returns the fence of what begins now, and changes nothing.
func (st *state) begins() (fence uint64) { return st.fence }

// whatFollows returns what a request goes on with that waited for a refresh of h, when the
// session holds another generation. sent: h was refused.
func (st *state) whatFollows(h *held, sent bool) (*held, error) {
	switch now := st.held; {
	case st.closed:
		return nil, ErrClosed
	case now.logouts != h.logouts:
		return nil, ErrLoggedOut
	case now.usable():
		return now, now.follows(h, sent)
	}
	return nil, st.ended()
}

// remembers reports whether the session knows something that would be lost with it: the
// token endpoint, too, is not to be asked earlier for that.
func (st *state) remembers(now time.Time) bool {
	trouble := st.troubleNow()
	return st.renewal.due || trouble.left.unstored || trouble.backoff.Pending(now) != nil || st.storm != nil && st.storm.Shut(now)
}

// holdsToken reports whether r is a login's or a refresh's.
func (r Record) holdsToken() bool { return r.State == Active && r.Token != nil }

// newer reports whether r, from the store, comes after what a session knows.
func newer(r, known Record) bool { return r.Era != known.Era || r.Number > known.Number }

// loginRequired reports whether a look at the store found no token.
func loginRequired(r Record, err error) bool {
	return errors.Is(err, ErrNoToken) || err == nil && !r.holdsToken()
}

// renewal is what a session knows of the tokens that came in answers.
//
// Such a token is in use before it is stored. Until then it has the era and number of what
// the store holds: the number is the store's business. A refresh therefore finds the stored
// record unchanged and presents the token in unstored in its place; a refresh in another
// process wins, because its number is higher. When the token is stored it gets the next
// number, and its generation stays.
type renewal struct {
	last       uint64 // the last generation that came in an answer
	unstored   *held  // what is held, or was when the session was closed; nil: it is stored
	due        bool   // unstored is to be stored
	refreshing bool   // a refresh runs, and brings a newer token than any answer
}

// forget is for when the session turns to another token, or to none.
func (r *renewal) forget() { r.unstored, r.due = nil, false }
