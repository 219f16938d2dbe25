package tokenclient

import (
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
// the one place that decides it.
type meaning uint8

const (
	unknown meaning = iota // the store cannot be read
	same                   // nothing that the session does not know
	gone                   // no token, or none that an ended session may take: a login is needed
	mine                   // the renewed token that this session is about to store
	behind                 // newer than what is known, but a renewed token of this session is younger
	next                   // a token to take over
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
		return gone
	case err != nil:
		return unknown
	case !st.held.usable() && !st.closed:
		if st.known().left.allows(r) {
			return next
		}
		return gone
	case !newer(r, known):
		return same
	case u == nil, u.record.Era != r.Era, u.record.Token.RefreshToken != r.Token.RefreshToken:
		return next
	case u.record.Token.AccessToken == r.Token.AccessToken && u.record.Token.Issued.Equal(r.Token.Issued):
		return mine
	case r.Token.Issued.Before(u.record.Token.Issued):
		return behind
	}
	return next
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
	return l.reason != ErrLoggedOut && r.Number > l.record.Number
}

// take takes over what a record means, and reports whether the session has another token.
func (st *state) take(fx *effects, m meaning, r Record, now time.Time) bool {
	switch m {
	case gone:
		st.end(fx, ErrLoginRequired, now)
	case next:
		st.adopt(r)
		fx.tell(tokenAdopted, st.info(flight{}, now), nil)
		return true
	}
	return false
}

// mayLook reports whether a session without a token may look whether its store has one by
// now. If not, and there is no token, the error says why.
func (st *state) mayLook(now time.Time) (may bool, err error) {
	last := st.known().looks
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
	case next:
		first := st.known().left.reason == nil
		st.adopt(r)
		if !first { // that is no news of somebody else's doing
			fx.tell(tokenAdopted, st.info(flight{}, now), nil)
		}
		return fx, nil
	case gone:
		err = st.ended()
	}
	st.inTrouble().looks = looks{at: now.Add(lookInterval), err: err}
	return fx, err
}

// mayLookForNewer reports whether a session with a token may look for a newer one.
func (st *state) mayLookForNewer(now time.Time) bool {
	// If a token is to be stored, its save looks.
	return !st.closed && st.held.usable() && !st.renewal.due && !st.known().looks.pending(now)
}

// lookedForNewer goes on after that look, which began at fence. That the store cannot be
// read is no matter as long as there is a token to send.
func (st *state) lookedForNewer(fence uint64, r Record, err error, now time.Time) (fx effects) {
	if !st.closed && st.fence == fence && st.held.usable() {
		st.take(&fx, st.meaning(r, err, st.held.record), r, now)
	}
	st.inTrouble().looks.at = now.Add(lookInterval)
	return fx
}

// mayRefreshEarly reports whether there may be an early refresh of h now. exchangeable says
// whether there is something to exchange.
func (st *state) mayRefreshEarly(h *held, exchangeable bool, now time.Time) bool {
	trouble := st.known()
	if st.closed || trouble.backoff.Pending(now) != nil {
		return false
	}
	return h.overdue(now) || trouble.earlier.Pending(now) == nil && exchangeable
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
		return m == same && r.Announced == 0, fx
	case m == unknown:
		st.inTrouble().earlier.Failed(err, 0, 0, now)
	case m == behind, m == mine, m == same && r.Announced > 0: // in the first two a save of ours is under way
		st.inTrouble().earlier.Failed(ErrAnnounced, 0, 0, now)
	case m == same:
		return true, fx
	default:
		st.take(&fx, m, r, now)
	}
	return false, fx
}
