package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// leaving remembers what an ended session held, so that it does not come back.
type leaving struct {
	reason error // nil: the session did not end
	record Record
	// unstored says that a logout of this session is not in the store.
	unstored bool
}

// allows reports whether a record found in the store may revive the session. A
// login begins another era. The same era with a higher number is the rescue of a
// refresh whose answer somebody else brought home after this session had been
// refused, but no way round a logout.
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

// lookInterval is how often a session without a token looks at its store.
const lookInterval = time.Second

// look makes a session without a token look whether its store has one by now:
// a login in another process, or the first request of this one. Everybody looks
// together, at most once per lookInterval. A nil error means that held changed.
func (s *Session) look(ctx context.Context) error {
	s.mu.Lock()
	switch {
	case s.held.Load().usable():
		s.mu.Unlock()
		return nil
	case s.closed:
		s.mu.Unlock()
		return ErrClosed
	}
	trouble := s.trouble.now()
	err, wait := trouble.lookErr, limit.Remaining(trouble.lookAt, time.Now(), lookInterval)
	s.watchers++
	turned := s.turnedLocked()
	s.mu.Unlock()
	defer s.unwatch()
	if err != nil && wait > 0 {
		return err
	}
	if s.inside(ctx) {
		return ErrReentrant
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done := s.flights.DoChan("look", func() (any, error) { return nil, s.loadShared() })
	select {
	case r := <-done:
		return r.Err
	case <-turned:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loadShared is the one look of everybody.
func (s *Session) loadShared() error {
	if !s.begin() {
		return ErrClosed
	}
	defer s.finish()
	s.mu.Lock()
	epoch := s.epoch
	s.mu.Unlock()

	r, err := s.load(s.lifetime())

	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.trouble.now().left
	switch {
	case s.closed:
		return ErrClosed
	case s.epoch != epoch || s.held.Load().usable():
		return nil // a login or logout came first; look again at what it left
	case errors.Is(err, ErrNoToken), err == nil && !left.allows(r):
		err = s.endedErrLocked()
	case err == nil:
		s.adoptLocked(r, left.reason != nil)
		return nil
	}
	trouble := s.troubleLocked()
	trouble.lookErr, trouble.lookAt = err, time.Now().Round(0).Add(lookInterval)
	return err
}

// load reads the store, whatever it does.
func (s *Session) load(ctx context.Context) (r Record, err error) {
	err = s.contain("Store.Load", func() (err error) {
		r, err = s.store.Load(ctx, s.key)
		return err
	})
	if err == nil && (r.State != Active || r.Token == nil) {
		err = ErrNoToken
	}
	switch {
	case errors.Is(err, errBroken):
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	case err != nil && !errors.Is(err, ErrNoToken):
		err = fmt.Errorf("tokenclient: load token: %w", err)
	}
	return r, err
}

// endedErrLocked is why there is no token.
func (s *Session) endedErrLocked() error {
	if reason := s.trouble.now().left.reason; reason != nil {
		return reason
	}
	return ErrLoginRequired
}
