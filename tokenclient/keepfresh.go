package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// keepFreshStep is the longest that KeepFresh sleeps without a look at the clock.
// Timers stand still while a machine is suspended, and expiry does not.
const keepFreshStep = 30 * time.Second

// KeepFresh refreshes the token in time, before requests have to ask for it, and
// every Config.Heartbeat at least if that is set. It runs until ctx ends, and then
// returns nil, or until the session ends, and then returns an error that is
// ErrLoginRequired (ErrClosed after Close). Refreshes that fail are tried again.
//
// A token whose expiry is unknown cannot be kept fresh without a Heartbeat: that
// is an error at once. So is a session without a Config.Refresher, since there is
// nothing to call.
func (s *Session) KeepFresh(ctx context.Context) error {
	if s.refresher == nil {
		return fmt.Errorf("tokenclient: KeepFresh: %w", errNoRefresher)
	}
	s.watch()
	defer s.unwatch()
	for {
		s.mu.Lock()
		turned := s.turnedLocked()
		s.mu.Unlock()
		h, err := s.asItIs(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLoginRequired), errors.Is(err, ErrClosed), errors.Is(err, ErrReentrant):
			return err
		case err == nil && !h.expires() && s.heartbeat == 0:
			return errors.New("tokenclient: KeepFresh needs a token whose expiry is known, or Config.Heartbeat")
		}
		wait := lookInterval // if the store could not be read
		if err == nil {
			wait = s.keepFreshOnce(ctx, h)
		}
		timer := time.NewTimer(min(wait, keepFreshStep))
		select {
		case <-timer.C:
		case <-turned: // a login or the end
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// keepFreshOnce refreshes h if that is due, and returns how long to wait before
// the next look.
func (s *Session) keepFreshOnce(ctx context.Context, h *held) time.Duration {
	now := time.Now().Round(0)
	if due := s.due(h); now.Before(due) {
		return due.Sub(now)
	}
	// Before it has to be, a refresh is none that somebody else may be making.
	if h.overdue(now) || s.worthPresenting(h) {
		if _, err := s.refreshed(ctx, h, CauseTimer); err == nil {
			return 0
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	trouble := s.trouble.now()
	wait := trouble.backoff.Remaining(now)
	if !h.overdue(now) {
		wait = max(wait, trouble.earlier.Remaining(now))
	}
	return wait
}

// due returns when h is to be refreshed.
func (s *Session) due(h *held) time.Time {
	due := h.soft()
	if !exchangeable(s.refresher, h.record.Token) {
		due = h.hard() // nothing to do but to say that it is over
	}
	if beat := h.record.Token.Issued.Add(s.heartbeat); s.heartbeat > 0 && (due.IsZero() || beat.Before(due)) {
		due = beat
	}
	return due
}
