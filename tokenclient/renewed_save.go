package tokenclient

import (
	"context"
	"errors"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"math"
)

// storeSoonLocked has the renewed token stored in the background.
func (s *Session) storeSoonLocked() {
	if _, alone := s.store.(*soloStore); alone {
		return // it would be one memory for another
	}
	s.renewals.due = true
	if !s.renewals.storing {
		s.renewals.storing = true
		s.beginLocked()
		go s.storeRenewals()
	}
}

// storeRenewals stores renewed tokens until there is none left to store. Those that
// come faster than they can be written are stored together: the newest of them.
func (s *Session) storeRenewals() {
	defer s.finish()
	var retry limit.Retry
	for {
		s.mu.Lock()
		again := s.renewals.due && !s.closed // Close makes the last attempt
		s.renewals.storing = again
		s.mu.Unlock()
		if !again {
			return
		}
		err := s.storeInFlight()
		if err == nil {
			retry = limit.Retry{}
			continue
		}
		if s.isOpen() { // else it is too early to say
			s.saveFailed(err)
		}
		s.pause(retry.Next())
	}
}

// storeInFlight is storeRenewed as a flight of the same name as refreshes, so that
// there is never one of both at the same time: the save would get the number that
// the refresh wants. Who needs a refresh and joins a save looks again when that is
// over. A save that joins a refresh does nothing and returns nil.
func (s *Session) storeInFlight() (err *NotSavedError) {
	<-s.flights.DoChan("refresh", func() (any, error) {
		if s.begin() { // else Close has made the last attempt, or is going to
			defer s.finish()
			err = s.storeRenewed(s.lifetime())
		}
		return nil, errFenced
	})
	return err
}

// storeRenewedLast is Close's attempt to store what no other has. Everything of
// the session's own has ended, unless the context of Close has.
func (s *Session) storeRenewedLast(ctx context.Context) *NotSavedError {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, insideKey{s}, true), s.timeout)
	defer cancel()
	for s.renewalDue() {
		if err := s.storeRenewed(ctx); err != nil {
			return err
		}
	}
	return nil
}

// storeAgain is NotSavedError.Save of a renewed token.
func (s *Session) storeAgain(ctx context.Context) error {
	for s.isOpen() && s.renewalDue() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.storeInFlight(); err != nil {
			return err.Err
		}
	}
	if err := s.storeRenewedLast(ctx); err != nil {
		return err.Err
	}
	return nil
}

func (s *Session) renewalDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewals.now().due
}

func (s *Session) saveFailed(e *NotSavedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saveFailedLocked(e)
}

// storeRenewed tries to store the renewed token. An error says that it is to be tried
// again; without one there may be something to store all the same.
func (s *Session) storeRenewed(ctx context.Context) *NotSavedError {
	s.mu.Lock()
	epoch, due, first := s.epoch, s.renewals.now().due, s.renewals.now().unstored
	s.mu.Unlock()
	if !due {
		return nil
	}
	seen := first.record
	seen.Announced = 0
	if s.refresher == nil {
		seen.Announced = math.MaxUint8 // whoever exchanges it, this session does not need the new pair
	}
	r, err := s.saveUnpresented(ctx, seen, first.record.Token.Clone())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch || !s.renewals.due {
		return nil
	}
	switch {
	case err == nil:
		s.numberLocked(r.Number)
		if s.renewals.unstored.generation == first.generation {
			s.renewals.forget()
		}
	case errors.Is(err, ErrOvertaken), errors.Is(err, ErrReplaced):
		s.meetLocked(r)
	case errors.Is(err, ErrNoToken):
		s.endLocked(ErrLoginRequired, false) // another process logged out
	case errors.Is(err, ErrAnnounced):
		s.renewals.due = false // the next renewal brings another
	default:
		return NewNotSavedError(s.key, first.record.Token.Clone(), err, s.storeAgain)
	}
	return nil
}

// numberLocked notes that what is held follows a record of this number, or is it.
func (s *Session) numberLocked(number uint64) {
	h := *s.renewals.unstored
	h.record.Number = number
	s.renewals.unstored = &h
	if !s.closed {
		s.held.Store(&h)
	}
}

// meetLocked goes on after the store turned out to hold r, which another process
// put there, in the place of what the session had seen.
func (s *Session) meetLocked(r Record) {
	switch {
	case r.State != Active || r.Token == nil:
		s.endLocked(ErrLoginRequired, false)
	case !newer(r, s.renewals.unstored.record):
		s.renewals.due = false // the store broke its contract; do not go on for ever
	case s.isUnstoredLocked(r): // stored by another attempt
		s.numberLocked(r.Number)
		s.renewals.forget()
	case !s.supersededLocked(r):
		s.numberLocked(r.Number) // and it is stored over r next
	case s.closed:
		s.renewals.forget()
	default:
		s.adoptLocked(r, true)
	}
}

// supersededLocked reports whether r, which is newer by era or number, is to take
// the place of what is held. Two processes may each get a token in an answer that
// follows the same record; both tokens work, and the one that was asked for later
// lives longer, whichever was stored first. Of a pair with another refresh token
// the number decides. What the session has just stored itself, and is about to take
// note of, supersedes nothing: it would be a generation of the same token.
func (s *Session) supersededLocked(r Record) bool {
	u := s.renewals.now().unstored
	return u == nil || u.record.Era != r.Era ||
		u.record.Token.RefreshToken != r.Token.RefreshToken ||
		!r.Token.Issued.Before(u.record.Token.Issued) && !s.isUnstoredLocked(r)
}

// isUnstoredLocked reports whether r holds the token that is to be stored.
func (s *Session) isUnstoredLocked(r Record) bool {
	u := s.renewals.now().unstored
	return u != nil && u.record.Era == r.Era &&
		u.record.Token.AccessToken == r.Token.AccessToken &&
		u.record.Token.RefreshToken == r.Token.RefreshToken &&
		u.record.Token.Issued.Equal(r.Token.Issued)
}
