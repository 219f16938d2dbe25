package tokenclient

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// errFenced is the result of a flight that a login or logout has overtaken, and of others
// that say nothing to those who need a token: they look again.
var errFenced = errors.New("tokenclient: refresh overtaken")

// errNotTried is the result of a flight that did not try, for the reason in Unwrap.
type errNotTried struct{ error }

func (e errNotTried) Unwrap() error { return e.error }

// A flight is what is known of a refresh when it begins.
type flight struct {
	fence    uint64
	cause    Cause
	began    time.Time
	seen     Record // what the session knew
	unstored *held  // a renewed token that is to be presented in the place of the stored one; nil: none
	fresh    bool   // the last refresh did not fail
	late     bool   // the token came when it had been given up
	spent    bool   // its refresh token was presented
}

// refreshBegins begins the one refresh of h, unless there is nothing to do: then it returns
// what to use instead, or an error. refreshEnds follows if there is neither.
func (st *state) refreshBegins(h *held, cause Cause, now time.Time) (f flight, instead *held, fx effects, err error) {
	seen, backoff := st.held.record, st.troubleNow().backoff
	pending := backoff.Pending(now)
	switch {
	case st.closed: // an early refresh that was begun before
		seen = h.record
	case !st.held.usable():
		return f, nil, fx, errFenced
	case st.held.generation != h.generation:
		return f, st.held, fx, nil
	case pending != nil && cause != CauseForced:
		st.doubt.noRefresh() // nobody is to wait for what does not come soon
		return f, nil, fx, errNotTried{pending}
	}
	st.renewal.refreshing = true
	f = flight{
		fence: st.fence, cause: cause, began: now, seen: seen,
		unstored: st.renewal.unstored, fresh: backoff.Failures() == 0,
	}
	fx.tell(refreshStarted, st.info(f, now), nil)
	return f, nil, fx, nil
}

// current returns r, which the store has for the refresh f, with the token to present: a
// renewed one that is not stored yet is younger.
func (f flight) current(r Record) Record {
	if u := f.unstored; u != nil && r.Era == u.record.Era && r.Number == u.record.Number {
		r.Token = u.record.Token
	}
	return r
}

// lateBegins goes on with f, whose Refresher brought a token when it had been given up. ok is
// false if that is of no use any more. refreshEnds follows.
func (st *state) lateBegins(f flight, now time.Time) (late flight, fx effects, ok bool) {
	if st.fence != f.fence && !st.held.usable() {
		return f, fx, false
	}
	f.began, f.late = now, true
	fx.tell(refreshStarted, st.info(f, now), nil)
	return f, fx, true
}

// A result is what a refresh came to.
type result struct {
	record Record // that the store has now
	err    error
	made   *Token // that this session got from the server; nil: it got none
	yields bool   // this session has left the token to somebody else: ErrAnnounced
}

// brokenBy reports what a Store did against its contract that the refresh f came to, whatever is
// made of that it would come to the same; nil: nothing.
func (f flight) brokenBy(r Record, res result) error {
	switch err := res.err; {
	case f.late: // nobody waits, and nothing is begun again
		return nil
	case errors.Is(err, ErrAnnounced) && !res.yields:
		return errors.New("Store.Refresh returned ErrAnnounced, which is for Save")
	case err != nil && !errors.Is(err, ErrOvertaken) && !errors.Is(err, ErrReplaced):
		return nil
	case r.holdsToken() && !newer(r, f.seen):
		return errors.New("Store.Refresh returned a record that is not newer than the one that was seen")
	}
	return nil
}

// An ending is what there is to do after a refresh.
type ending struct {
	held   *held          // to go on with; nil: err says why there is none
	err    error          // of those who wait
	orphan *Token         // nobody will ever use it: the server is to forget it
	retry  *NotSavedError // is to be tried again
}

// refreshEnds brings the result of f into memory, unless a login or logout has come since it
// began.
func (st *state) refreshEnds(f flight, res result, now time.Time) (e ending, fx effects) {
	if !f.late {
		st.renewal.refreshing = false
	}
	r, err := res.record, res.err
	if errors.As(err, &e.retry) {
		r = Record{State: Active, Token: e.retry.Token, Era: f.seen.Era, Number: f.seen.Number + 1}
	}
	fenced := st.fence != f.fence
	if res.made != nil && (errors.Is(err, ErrReplaced) || fenced && !st.held.usable()) {
		e.orphan = res.made
	}
	switch {
	case errors.Is(err, errNoTurn), st.closed && err != nil && res.made == nil && !fenced:
		e.err = st.overtaken(&fx, f, ErrClosed, now)
	case fenced:
		if te := (*TokenError)(nil); errors.As(err, &te) && te.RetryAfter > 0 && st.held.usable() && st.held.record.Era == f.seen.Era {
			// The login may fail, or has. What the server asked for is to be kept all the same.
			st.makeTrouble().backoff.Failed(err, r.Announced, te.RetryAfter, now)
		}
		_ = st.overtaken(&fx, f, ErrReplaced, now)
		e.err = errFenced
	case r.State == Active && r.Token == nil && (errors.Is(err, ErrOvertaken) || errors.Is(err, ErrReplaced)):
		// Somebody is logged in, but what is stored cannot be read: its key may come yet.
		e.err = st.failed(&fx, f, r, fmt.Errorf("%w: %w", ErrStoreUnavailable, err), now)
	case e.retry == nil && f.brokenBy(r, res) != nil:
		e.err = st.failed(&fx, f, r, fmt.Errorf("%w: %w: %w", ErrStoreUnavailable, errBroken, f.brokenBy(r, res)), now)
	case err == nil, e.retry != nil, errors.Is(err, ErrOvertaken), errors.Is(err, ErrReplaced):
		own := res.made != nil && (err == nil || e.retry != nil)
		f.spent = res.made != nil
		if e.held, e.err = st.refreshed(&fx, f, r, own, now); e.held != nil && e.retry != nil {
			fx.tell(tokenNotSaved, st.info(flight{}, now), e.retry)
		}
	case errors.Is(err, ErrAnnounced):
		st.makeTrouble().earlyBackoff.Failed(err, 0, 0, now)
		_ = st.overtaken(&fx, f, err, now)
		e.err = errFenced // somebody who needs it may have joined meanwhile, and tries again
	case errors.Is(err, ErrNoToken):
		e.err = st.overtaken(&fx, f, ErrLoginRequired, now)
		st.end(&fx, ErrLoginRequired, now)
	case errors.Is(err, ErrRefused):
		e.err = st.failed(&fx, f, r, err, now)
		st.end(&fx, err, now)
	default:
		if errors.Is(err, ErrLoginRequired) && st.held.expired(now) {
			st.end(&fx, err, now)
		}
		e.err = st.failed(&fx, f, r, err, now)
	}
	return e, fx
}

// refreshed takes r, with which f ended well. own: this session made its token.
func (st *state) refreshed(fx *effects, f flight, r Record, own bool, now time.Time) (*held, error) {
	switch {
	case !r.holdsToken():
		defer st.end(fx, ErrLoginRequired, now)
		return nil, st.overtaken(fx, f, ErrLoginRequired, now)
	case st.closed && own: // for those who come after this session
		fx.tell(tokenRefreshed, st.info(f, now), nil)
		return nil, ErrClosed
	case st.closed:
		return nil, st.overtaken(fx, f, ErrClosed, now)
	case st.held.usable() && !newer(r, st.held.record): // adopted while a late answer was on its way
		_ = st.overtaken(fx, f, ErrOvertaken, now)
		return st.held, nil
	}
	if !own && st.keepsAccess(r) { // in another process, where another audience needed it
		return st.held, nil
	}
	waited := now.Sub(f.began) > lookInterval // r was stored since, as far as is known
	other := r.Era != f.seen.Era && (waited || f.spent)
	st.adopt(r)
	if other {
		st.held.logins++
	}
	if own {
		st.comes(now)
		fx.tell(tokenRefreshed, st.info(f, now), nil)
	} else {
		fx.tell(tokenAdopted, st.info(f, now), nil)
	}
	return st.held, nil
}

// overtaken tells that f came to nothing because of err, and that it was no failure.
func (st *state) overtaken(fx *effects, f flight, err error, now time.Time) error {
	fx.tell(refreshOvertaken, st.info(f, now), err)
	return err
}

// failed holds the next refresh back.
func (st *state) failed(fx *effects, f flight, r Record, err error, now time.Time) error {
	trouble := st.makeTrouble()
	var te *TokenError
	var retryAfter time.Duration
	if errors.As(err, &te) {
		retryAfter = te.RetryAfter
		if te.StatusCode >= 200 && te.StatusCode < 300 { // the wait is drawn, and must not be none
			retryAfter = max(retryAfter, limit.BackoffFirst)
		}
		if te.refused() {
			trouble.refusals++
		}
		if te.refused() && trouble.refusals >= manyRefusals {
			err = te.stillRefused(trouble.refusals)
		}
	}
	trouble.backoff.Failed(err, r.Announced, retryAfter, now)
	st.doubt.noRefresh()
	fx.tell(refreshFailed, st.info(f, now), err)
	if trouble.refusals == manyRefusals && errors.Is(err, ErrStillRefused) {
		fx.events = append(fx.events, event{kind: refreshStillRefused, info: st.info(f, now), err: err, times: manyRefusals})
	}
	return err
}

// manyRefusals in a row are no accident, and somebody has to be told.
const manyRefusals = 3

// A rejection is what follows a server's refusal of a token.
type rejection struct {
	again bool      // there is a newer token, or there may be one
	asked uint64    // the generation that is refreshed for this reason, among others; 0: none
	look  bool      // only another process can have one: look
	next  time.Time // when a refresh may be tried, if not now; zero: never
}

// A place is where a token may be refused that others take. The zero one is unknown.
type place struct{ origin, path string }

// placeOf returns that of u, which may be nil.
func placeOf(u *url.URL) place {
	if u == nil {
		return place{}
	}
	return place{origin.Of(u).String(), u.Path}
}

// maxRefused is how many places a session remembers to have refused what it holds.
const maxRefused = 8

// A doubt is what a session knows of servers that refused what it holds.
type doubt struct {
	// at are the places where it was refused, as long as it is going to be refreshed for that.
	at []place

	lag limit.Lag // servers that may not know of it yet

	// changed is closed when those who wait for servers are to look again.
	changed chan struct{}
}

// makeDoubt is the doubt of st, for writing.
func (st *state) makeDoubt() *doubt {
	if st.doubt == nil {
		st.doubt = &doubt{changed: make(chan struct{})}
	}
	return st.doubt
}

// refusedAt notes that d was refused.
func (d *doubt) refusedAt(at place) {
	if len(d.at) < maxRefused && !slices.Contains(d.at, at) {
		d.at = append(slices.Clip(d.at), at)
	}
}

// noRefresh is for when there is no refresh to wait for. d may be nil.
func (d *doubt) noRefresh() {
	if d != nil {
		d.at = nil
	}
}

// refusedGeneration is that of what is held if it is known to be refused, and is going to be
// refreshed for that; 0: it is not.
func (st *state) refusedGeneration() uint64 {
	if st.doubt == nil || len(st.doubt.at) == 0 {
		return 0
	}
	return st.held.generation
}

// waits reports whether a request to at, which is about to be sent with h, waits for the
// refresh of h. h may be good at other places than those that refused it; only what cannot
// be sent a second time does not try that.
func (st *state) waits(h *held, at place, replayable bool) bool {
	return st.doubt != nil && st.refusedGeneration() == h.generation && (!replayable || slices.Contains(st.doubt.at, at))
}

// rejected goes on after a server rejected h at a place.
func (st *state) rejected(h *held, at place, canRefresh bool, now time.Time) (v rejection, fx effects) {
	switch {
	case st.closed:
		return v, fx
	case st.held.generation != h.generation:
		v.again = true // it was refreshed already
		return v, fx
	case !canRefresh:
		v.look = true
		return v, fx
	}
	storm := st.makeStorm()
	ok, begins := storm.Allow(h.generation, now)
	v = rejection{again: ok, next: storm.Next()}
	if ok && !st.renewal.refreshing { // else a refresh may be what made the server refuse h
		v.asked = h.generation
	}
	if ok {
		st.makeDoubt().refusedAt(at)
	}
	if begins {
		fx.events = []event{{kind: rejectedTooOften, info: st.info(flight{}, now), origin: at.origin, until: v.next}}
	}
	return v, fx
}

// replayed notes whether the server refused h, which a request was sent again with that had been
// refused before, with v.
func (st *state) replayed(h *held, refused bool, v rejection) {
	st.makeStorm().Replayed(h.generation, refused, v.asked)
}

// askLag says what a request does that server refused h for, which may be young. accepted says
// whether a request that was not sent again was accepted there.
func (st *state) askLag(h *held, server string, canTry, accepted bool, now time.Time) (a limit.LagAnswer, until time.Time, changed <-chan struct{}) {
	if !st.held.usable() || st.held.generation != h.generation || !st.young(now) {
		return limit.LagOver, until, nil
	}
	if known := st.doubt != nil && st.doubt.lag.Knows(server); accepted && !known {
		return limit.LagOver, until, nil
	}
	d := st.makeDoubt()
	a, until = d.lag.Ask(server, canTry, now)
	return a, until, d.changed
}

// triedLag notes what came of a try that askLag asked for.
func (st *state) triedLag(h *held, server string, r limit.LagResult) {
	if st.doubt != nil && st.held.generation == h.generation {
		d := &doubt{at: st.doubt.at, lag: st.doubt.lag.Clone(), changed: make(chan struct{})}
		d.lag.Tried(server, r)
		st.doubt = d
	}
}

// untilRefresh is how long a refresh of h has to wait after those that failed.
func (st *state) untilRefresh(h *held, now time.Time) time.Duration {
	trouble := st.troubleNow()
	wait := trouble.backoff.Remaining(now)
	if !h.overdue(now) {
		wait = max(wait, trouble.earlyBackoff.Remaining(now))
	}
	return wait
}
