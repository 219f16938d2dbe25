package tokenclient

import (
	"errors"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// lookInterval is how often a session without a token looks at its store.
const lookInterval = time.Second

// looks are the looks at the store for a token to use.
type looks struct {
	at  time.Time // when there may be another one
	err error     // what the last one ended with
}

// pending reports whether it is too early for another look.
func (l looks) pending(now time.Time) bool { return limit.Remaining(l.at, now, lookInterval) > 0 }

// A meaning is what a record in the store says to a session that knows another one. This is
// the one place that decides it, for looks and for saves.
type meaning uint8

const (
	recordUnreadable meaning = iota // the store cannot be read
	recordSame                      // nothing that the session does not know
	recordGone                      // no token, or none that an ended session may take: a login is needed
	recordMine                      // the renewed token that this session is about to store
	recordBehind                    // newer than what is known, but a renewed token of this session is younger
	recordNext                      // a token to take over
)

// meaning tells what r and err, of a look at the store, mean to a session that knows known.
//
// Two processes may each get a token in an answer that follows the same record. Both tokens
// work, and the one that was asked for later lives longer, whichever was stored first. Of a
// pair with another refresh token the number decides.
func (st *state) meaning(r Record, err error, known Record) meaning {
	u := st.renewal.unstored
	switch {
	case loginRequired(r, err):
		return recordGone
	case err != nil:
		return recordUnreadable
	case !st.held.usable() && !st.closed:
		if st.troubleNow().left.allows(r) {
			return recordNext
		}
		return recordGone
	case !newer(r, known):
		return recordSame
	case u == nil, u.record.Era != r.Era, u.record.Token.RefreshToken != r.Token.RefreshToken:
		return recordNext
	case u.record.Token.AccessToken == r.Token.AccessToken && u.record.Token.Issued.Equal(r.Token.Issued):
		return recordMine
	case r.Token.Issued.Before(u.record.Token.Issued):
		return recordBehind
	}
	return recordNext
}

// allows reports whether a record found in the store may revive the session. A login begins
// another era. The same era with a higher number is the rescue of a refresh whose answer
// somebody else brought home after this session had been refused, but no way round a logout.
func (l leaving) allows(r Record) bool {
	switch {
	case l.reason == nil:
		return true
	case l.unstored:
		return false
	case r.Era != l.record.Era:
		return true
	}
	return !errors.Is(l.reason, ErrLoggedOut) && r.Number > l.record.Number
}

// take does what m asks for.
func (st *state) take(fx *effects, m meaning, r Record, now time.Time) {
	switch m {
	case recordGone:
		st.end(fx, ErrLoginRequired, now)
	case recordNext:
		if !st.keepsAccess(r) {
			st.adopt(r)
			fx.tell(tokenAdopted, st.info(flight{}, now), nil)
		}
	}
}

// mayLook reports whether a session without a token may look whether its store has one by
// now. If not, and there is no token, the error says why.
func (st *state) mayLook(now time.Time) (may bool, err error) {
	last := st.troubleNow().looks
	switch {
	case st.held.usable():
		return false, nil
	case st.closed:
		return false, ErrClosed
	case last.err != nil && last.pending(now):
		return false, last.err
	}
	return true, nil
}

// mayStartEmpty reports whether a session that looked at fence, and found that its store has
// nothing, may start there without a login. A logout is undone by a login only.
func (st *state) mayStartEmpty(fence uint64) bool {
	return !st.closed && st.fence == fence && !st.held.usable() && !errors.Is(st.troubleNow().left.reason, ErrLoggedOut)
}

// looked goes on after that look, which began at fence. A nil error means that held changed.
func (st *state) looked(fence uint64, r Record, err error, now time.Time) (effects, error) {
	var fx effects
	switch {
	case st.closed:
		return fx, ErrClosed
	case st.fence != fence, st.held.usable():
		return fx, nil // a login or logout came first; look again at what it left
	}
	switch st.meaning(r, err, Record{}) {
	case recordNext:
		first := st.troubleNow().left.reason == nil
		st.adopt(r)
		if !first { // that is no news of somebody else's doing
			fx.tell(tokenAdopted, st.info(flight{}, now), nil)
		}
		return fx, nil
	case recordGone:
		err = st.ended()
	}
	st.makeTrouble().looks = looks{at: now.Add(lookInterval), err: err}
	return fx, err
}

// mayLookForNewer reports whether a session with a token may look for a newer one.
func (st *state) mayLookForNewer(now time.Time) bool {
	// If a token is to be stored, its save looks.
	return !st.closed && st.held.usable() && !st.renewal.due && !st.troubleNow().looks.pending(now)
}

// lookedForNewer goes on after that look, which began at fence. That the store cannot be
// read is no matter as long as there is a token to send.
func (st *state) lookedForNewer(fence uint64, r Record, err error, now time.Time) (fx effects) {
	if !st.closed && st.fence == fence && st.held.usable() {
		st.take(&fx, st.meaning(r, err, st.held.record), r, now)
	}
	st.makeTrouble().looks.at = now.Add(lookInterval)
	return fx
}

// mayRefreshEarly reports whether there may be an early refresh of h now. exchangeable says
// whether there is something to exchange.
func (st *state) mayRefreshEarly(h *held, exchangeable bool, now time.Time) bool {
	trouble := st.troubleNow()
	if st.closed || trouble.backoff.Pending(now) != nil {
		return false
	}
	return h.overdue(now) || trouble.earlyBackoff.Pending(now) == nil && exchangeable
}

// worthPresenting goes on after a look before an early refresh of h. A refresh token that
// somebody else may be presenting, or has died presenting, is left alone as long as the
// access token is good.
func (st *state) worthPresenting(h *held, r Record, err error, now time.Time) (worth bool, fx effects) {
	known := st.held.record
	switch {
	case st.closed:
		known = h.record // what was held when Close came
	case st.held.generation != h.generation:
		return false, fx
	}
	m := st.meaning(r, err, known)
	switch {
	case st.closed:
		return m == recordSame && r.Announced == 0, fx
	case m == recordUnreadable:
		st.makeTrouble().earlyBackoff.Failed(err, 0, 0, now)
	case m == recordBehind, m == recordMine, m == recordSame && r.Announced > 0: // if behind or mine, a save of ours is under way
		st.makeTrouble().earlyBackoff.Failed(ErrAnnounced, 0, 0, now)
	case m == recordSame:
		return true, fx
	default:
		st.take(&fx, m, r, now)
	}
	return false, fx
}

// renewedBy makes t, which came in an answer to a request with h, the session's, unless it
// has another one by now: that came in an earlier answer, or from a refresh, login or logout,
// all of which win. keep says whether it is to be stored.
func (st *state) renewedBy(h *held, t *Token, keep bool, now time.Time) (fx effects) {
	if st.closed || st.held.generation != h.generation || st.renewal.refreshing {
		return fx
	}
	r := st.held.record // its number may be higher than h's: h was stored meanwhile
	r.Token = t
	st.adopt(r)
	st.comes(now)
	st.renewal.last, st.renewal.unstored, st.renewal.due = st.held.generation, st.held, keep
	fx.tell(tokenAdopted, st.info(flight{}, now), nil)
	fx.tell(tokenRenewed, st.info(flight{}, now), nil)
	return fx
}

// cameInAnswer reports whether h did.
func (st *state) cameInAnswer(h *held) bool { return st.renewal.last == h.generation }

// saveBegins returns the token to store, if there is one. saveEnds follows.
func (st *state) saveBegins() (fence uint64, h *held, ok bool) {
	return st.fence, st.renewal.unstored, st.renewal.due
}

// saveEnds goes on after h, a renewed token, was to be stored: r and err are what came of it.
// An error says that it is to be tried again; without one there may be something to store
// all the same.
func (st *state) saveEnds(fence uint64, h *held, r Record, err error, now time.Time) (fx effects, again error) {
	if st.fence != fence || !st.renewal.due {
		return fx, nil
	}
	switch {
	case err == nil:
		st.numbered(r.Number)
		if st.renewal.unstored.generation == h.generation {
			st.renewal.forget()
		}
	case errors.Is(err, ErrOvertaken), errors.Is(err, ErrReplaced):
		st.meet(&fx, r, now)
	case errors.Is(err, ErrNoToken):
		st.end(&fx, ErrLoginRequired, now) // another process logged out
	case errors.Is(err, ErrAnnounced):
		st.renewal.due = false // the next renewal brings another
	default:
		return fx, err
	}
	return fx, nil
}

// numbered gives what is held the number that the store has for it, or for its predecessor.
func (st *state) numbered(number uint64) {
	r := st.renewal.unstored.record
	r.Number = number
	h := st.renewal.unstored.with(r)
	st.renewal.unstored = h
	if !st.closed {
		st.held = h
	}
}

// meet goes on after a save that found r stored instead of what the session had seen.
func (st *state) meet(fx *effects, r Record, now time.Time) {
	switch m := st.meaning(r, nil, st.renewal.unstored.record); m {
	case recordSame:
		st.renewal.due = false // the store broke its contract; do not go on for ever
	case recordMine: // stored by another attempt
		st.numbered(r.Number)
		st.renewal.forget()
	case recordBehind:
		st.numbered(r.Number) // and it is stored over r next
	case recordNext:
		if st.closed {
			st.renewal.forget()
			break
		}
		st.take(fx, m, r, now)
	case recordGone:
		st.take(fx, m, r, now)
	}
}

// tookUnsaved makes r, which the store has in the place of unsaved, what is held, if that is
// unsaved still, or has its refresh token. While it could not be stored another process presented
// the same token, and what it got is stored first. The number does not tell the two apart; but
// the server may know of one only, and what is stored is what others go on with.
func (st *state) tookUnsaved(unsaved *Token, r Record, now time.Time) (fx effects) {
	held := st.held.record
	if st.closed || held.Token == nil || !r.holdsToken() || r.Era != held.Era || r.Number < held.Number ||
		held.Token.RefreshToken != unsaved.RefreshToken || r.Token.RefreshToken == unsaved.RefreshToken {
		return fx
	}
	st.take(&fx, recordNext, r, now)
	return fx
}

// beginWithWhole makes r what a part of a session has, of which another login has come. late:
// there may be requests that had begun before.
func (st *state) beginWithWhole(r Record, late bool) (fx effects) {
	if st.closed || st.held.usable() && st.held.record.Era == r.Era {
		return fx
	}
	st.fence++
	st.storm = nil
	st.adopt(r)
	if late {
		st.held.logins++
	}
	fx.release = true
	return fx
}

// endWithWhole ends a part of a session that held was and has ended. It comes back with
// another login.
func (st *state) endWithWhole(was Record, now time.Time) (fx effects) {
	if st.closed {
		return fx
	}
	st.fence++
	st.end(&fx, ErrLoggedOut, now)
	left := &st.makeTrouble().left
	left.unstored = false // that the whole one knows
	if was.Token != nil {
		left.record.Era = was.Era
	}
	return fx
}

// partStored makes r, which a part of the session has left in the store, what the session
// holds.
func (st *state) partStored(r Record) (fx effects) {
	now := st.held
	if st.closed || !now.usable() || r.Token == nil || r.Era != now.record.Era || r.Number <= now.record.Number {
		return fx
	}
	if !st.keepsAccess(r) {
		st.adopt(r)
	}
	return fx
}

// keepsAccess makes r what the session holds if of its own token only the refresh token is
// another one: it was refreshed for an audience. The access token that may have been refused is
// no other, so the generation stays, and who waits for the next one waits on.
func (st *state) keepsAccess(r Record) bool {
	now := st.held
	if !now.usable() || r.Era != now.record.Era ||
		r.Token.AccessToken != now.record.Token.AccessToken || !r.Token.Issued.Equal(now.record.Token.Issued) {
		return false
	}
	st.held = now.with(r)
	return true
}
