package tokenclient

import (
	"errors"
	"time"
)

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
	st.renewal.last, st.renewal.unstored, st.renewal.due = st.held.generation, st.held, keep
	fx.tell(tokenAdopted, st.info(flight{}, now), nil)
	fx.tell(tokenRenewed, st.info(flight{}, now), nil)
	return fx
}

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

// numbered notes that what is held follows a record of this number, or is it.
func (st *state) numbered(number uint64) {
	h := *st.renewal.unstored
	h.record.Number = number
	st.renewal.unstored = &h
	if !st.closed {
		st.held = &h
	}
}

// meet goes on when the store turned out to hold r in the place of what the session had seen.
func (st *state) meet(fx *effects, r Record, now time.Time) {
	switch m := st.meaning(r, nil, st.renewal.unstored.record); m {
	case same:
		st.renewal.due = false // the store broke its contract; do not go on for ever
	case mine: // stored by another attempt
		st.numbered(r.Number)
		st.renewal.forget()
	case behind:
		st.numbered(r.Number) // and it is stored over r next
	case next:
		if st.closed {
			st.renewal.forget()
			break
		}
		st.take(fx, m, r, now)
	case gone:
		st.take(fx, m, r, now)
	}
}
