package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Refresh exchanges the refresh token now, whether or not the access token is
// still good, or takes part in a refresh that is under way. It returns a copy of
// the new token. Neither the wait after a failure nor the bound on refreshes that
// a 401 asked for holds it back. Errors are those of [Session.Token]. Without a
// Config.Refresher there is nothing to refresh with, which is an error at once.
func (s *Session) Refresh(ctx context.Context) (*Token, error) {
	if s.refresher == nil {
		return nil, fmt.Errorf("tokenclient: Refresh: %w", errNoRefresher)
	}
	h, err := s.asItIs(ctx)
	if err != nil {
		return nil, err
	}
	for {
		if h, err = s.refreshed(ctx, h, CauseForced); err != nil {
			return nil, err
		}
		if !s.cameInAnswer(h) { // a renewal that came first was not asked for
			return h.record.Token.Clone(), nil
		}
	}
}

// errFenced is the result of a flight that a login or logout has overtaken, and of
// others that say nothing to those who need a token: they look again.
var errFenced = errors.New("tokenclient: refresh overtaken")

// errNotTried is the result of a flight that did not try, for the reason in Unwrap.
type errNotTried struct{ error }

func (e errNotTried) Unwrap() error { return e.error }

// refreshed waits for the one refresh that replaces h. It leaves with ctx, and
// the refresh goes on without it. One that is forced is tried even shortly after
// one that failed.
func (s *Session) refreshed(ctx context.Context, h *held, cause Cause) (*held, error) {
	if s.inside(ctx) {
		return nil, ErrReentrant
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	s.watch()
	defer s.unwatch()
	defer s.host.hurry(ctx, s)()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		now := s.held.Load()
		if now.generation != h.generation {
			s.mu.Unlock()
			return s.turnedTo(now, h)
		}
		turned := s.turnedLocked()
		s.mu.Unlock()
		done := s.flights.DoChan("refresh", func() (any, error) { return s.refresh(h, cause) })
		select {
		case r := <-done:
			var idle errNotTried
			switch {
			case r.Err == nil:
				if next := r.Val.(*held); next.generation > h.generation {
					return next, nil
				}
				// The flight was begun for an older generation, and had nothing to do.
			case errors.Is(r.Err, errFenced):
				// held tells what it was overtaken by.
			case errors.As(r.Err, &idle):
				if cause != CauseForced {
					return nil, idle.error
				}
				// The flight belonged to somebody who does not force.
			default:
				return nil, r.Err
			}
		case <-turned:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// turnedTo returns what somebody who waited for a refresh of h goes on with when
// the session has turned to now.
func (s *Session) turnedTo(now, h *held) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case now.logouts != h.logouts:
		return nil, ErrLoggedOut
	case now.usable():
		return now, nil
	}
	return nil, s.endedErrLocked()
}

// flight is what is known of a refresh when it begins.
type flight struct {
	epoch uint64
	cause Cause
	began time.Time
}

// takeOff begins a refresh. settle ends it.
func (s *Session) takeOff(epoch uint64, cause Cause) flight {
	f := flight{epoch, cause, time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.infoLocked(f)
	info.Duration = 0
	s.note(slog.LevelDebug, "refresh started", "generation", info.Generation, "cause", cause.String())
	if s.hooks.RefreshStarted != nil {
		s.events.post(func() { s.hooks.RefreshStarted(info) })
	}
	return f
}

// refresh is the one refresh of everybody who waits. It runs in a flight of its
// own, under the session's lifetime and nobody's context.
func (s *Session) refresh(h *held, cause Cause) (*held, error) {
	if !s.begin() {
		return nil, ErrClosed
	}
	defer s.finish()

	s.mu.Lock()
	now, epoch, closed := s.held.Load(), s.epoch, s.closed
	backoff := s.trouble.now().backoff
	err, failures := backoff.pending(time.Now()), backoff.failures
	unstored := s.renewals.now().unstored
	s.renewals.setRefreshing(true)
	s.mu.Unlock()
	defer s.refreshEnded()
	seen := now.record
	switch {
	case closed: // an early refresh that was begun before
		seen = h.record
	case !now.usable():
		return nil, errFenced
	case now.generation != h.generation:
		return now, nil
	case err != nil && cause != CauseForced:
		return nil, errNotTried{err}
	}

	lifetime, f := s.lifetime(), s.takeOff(epoch, cause)
	var made *Token
	var tries int
	fn := func(ctx context.Context, current Record) (*Token, error) {
		tries = current.Announced
		if unstored != nil && current.Era == unstored.record.Era && current.Number == unstored.record.Number {
			current.Token = unstored.record.Token // the stored one is older
		}
		if tries > 1 && s.waiting.Load() == 0 {
			return nil, asTokenError(errAnnounced, current.Token)
		}
		t, err := s.present(ctx, f, current)
		made = t
		return t, err
	}
	r, err := s.exchangeInTurn(lifetime, seen, false, fn)
	if failures == 0 && answerLost(err) {
		// Some servers answer the same again for a while, and if the request was
		// what got lost the session is saved; if it was the answer, and the
		// server is strict, the session was lost before.
		s.note(slog.LevelWarn, "answer to a refresh lost, trying once more", "err", err)
		r, err = s.exchangeInTurn(lifetime, seen, true, fn)
	}
	if errors.Is(err, errNoTurn) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.overtakenLocked(f, ErrClosed)
		return nil, ErrClosed
	}
	r.Announced = max(r.Announced, tries)
	return s.settle(f, seen, r, err, made)
}

// exchangeInTurn is exchange when it is s's turn; again: for the second try of a refresh.
func (s *Session) exchangeInTurn(lifetime context.Context, seen Record, again bool, fn presentFunc) (Record, error) {
	return s.host.inTurn(lifetime, s, again, fn, func(fn presentFunc) (Record, error) {
		return s.exchange(lifetime, seen, s.timeout, fn)
	})
}

// exchange is Store.Refresh, whatever the Store does.
func (s *Session) exchange(ctx context.Context, seen Record, timeout time.Duration, fn presentFunc) (Record, error) {
	var r Record
	err := s.contain("Store.Refresh", func() (err error) {
		r, err = s.store.Refresh(ctx, s.key, seen, timeout, fn)
		return err
	})
	var te *TokenError
	if errors.Is(err, errBroken) && !errors.As(err, &te) {
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	return r, err
}

// answerLost reports whether err calls for one more try at once: the refresh
// token may have arrived, and no answer told what became of it. After a timeout
// the first request may still be on its way, and must not land behind a second.
func answerLost(err error) bool {
	var te *TokenError
	if !errors.As(err, &te) || !te.Temporary() || te.Timeout() || te.RetryAfter > 0 {
		return false
	}
	if te.StatusCode >= 400 && te.StatusCode < 500 {
		return false
	}
	var unsaved *NotSavedError
	return !errors.Is(err, ErrNotPresented) && !errors.Is(err, ErrReentrant) &&
		!errors.Is(err, errBroken) && !errors.As(err, &unsaved)
}
