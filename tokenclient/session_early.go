package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// refreshEarly starts a refresh that nobody waits for, when there is room for it: h is good
// for a while yet.
func (s *Session) refreshEarly(h *held, cause Cause) {
	if !s.early.CompareAndSwap(false, true) {
		return
	}
	if !s.mayRefreshEarly(h) {
		s.early.Store(false)
		return
	}
	left := time.Duration(math.MaxInt64)
	if h.expires() {
		left = time.Until(h.hard())
	}
	s.host.whenRoom(s, left, func() bool { return s.startEarly(h, cause) })
}

// startEarly goes on with refreshEarly, and reports whether it does: a request that could not
// wait may have come first.
func (s *Session) startEarly(h *held, cause Cause) bool {
	begun := s.holds().generation == h.generation && s.mayRefreshEarly(h) && s.inBackground(func() {
		defer s.early.Store(false)
		switch {
		case h.overdue(time.Now()):
			// KeepFresh was late: refresh as if a request waited.
			_, _ = s.refreshed(context.Background(), h, cause) // every flight ends, so this does
		case s.worthPresenting(h):
			<-s.flights.DoChan("refresh", func() (any, error) { return s.refresh(h, cause) })
		}
	})
	if !begun {
		s.early.Store(false)
	}
	return begun
}

func (s *Session) mayRefreshEarly(h *held) (may bool) {
	if h.expired(time.Now()) && s.serverRenews(h) {
		return false // the next request asks the server
	}
	s.ask(func(st *state, now time.Time) {
		may = st.mayRefreshEarly(h, canRefresh(s.refresher, h.record.Token), now)
	})
	return may
}

// worthPresenting looks at the store before an early refresh, and takes what another process
// put there.
func (s *Session) worthPresenting(h *held) (worth bool) {
	if !s.begin() {
		return false
	}
	defer s.finish()
	r, err := s.load(s.lifetime())
	s.change(func(st *state, now time.Time) (fx effects) {
		worth, fx = st.worthPresenting(h, r, err, now)
		return fx
	})
	return worth
}

// keepFreshStep is the longest that KeepFresh sleeps without a look at the clock.
// Timers stand still while a machine is suspended, and expiry does not.
const keepFreshStep = 30 * time.Second

// KeepFresh refreshes the token in time, before requests have to ask for it, and
// every Config.Heartbeat at least if that is set. It runs until ctx ends, and then
// returns nil, or until the session ends, and then returns an error that is
// ErrLoginRequired (ErrClosed after Close). Refreshes that fail are tried again. With
// Config.Renewed, an expired token that only a heartbeat could exchange is left to the next
// request.
//
// A token whose expiry is unknown cannot be kept fresh without a Heartbeat: that
// is an error at once. So is a session without a Config.Refresher, since there is
// nothing to call.
func (s *Session) KeepFresh(ctx context.Context) error {
	if s.refresher == nil {
		return fmt.Errorf("tokenclient: KeepFresh: %w", errNoRefresher)
	}
	s.released.Watch()
	defer s.released.Unwatch()
	for {
		released := s.released.Sent()
		h, err := s.asItIs(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLoginRequired), errors.Is(err, ErrClosed), errors.Is(err, ErrReentrant):
			return s.whose(err)
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
		case <-released: // a login or the end
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// keepFreshOnce refreshes h if that is due, and returns how long to wait before the next
// look.
func (s *Session) keepFreshOnce(ctx context.Context, h *held) (wait time.Duration) {
	now := time.Now()
	if wait := s.untilDue(h, now); wait > 0 {
		return wait
	}
	if h.expired(now) && s.serverRenews(h) {
		s.lookForNewer(ctx)
		return keepFreshStep // the next request asks the server
	}
	// As long as it need not be, do not refresh what somebody else may be refreshing.
	if h.overdue(now) || s.worthPresenting(h) {
		if _, err := s.refreshed(ctx, h, CauseTimer); err == nil {
			return 0
		}
	}
	s.ask(func(st *state, _ time.Time) { wait = st.untilRefresh(h, now) })
	return wait
}

// untilDue returns how long it is until h is to be refreshed; not more than 0 if it is.
//
// The time of day is what counts, because it goes on while the machine sleeps. But if it was
// set back since the token was issued, here or by another process, it would be long in coming:
// so there is no longer wait from when this session got the token than there is from when it
// was issued.
func (s *Session) untilDue(h *held, now time.Time) time.Duration {
	due := h.soft()
	if !canRefresh(s.refresher, h.record.Token) {
		due = h.hard() // nothing to exchange: at the hard time the session learns that it is over
	}
	issued := h.record.Token.Issued
	if beat := issued.Add(s.heartbeat); s.heartbeat > 0 && (due.IsZero() || beat.Before(due)) {
		due = beat
	}
	if issued.IsZero() {
		issued = h.since.Round(0)
	}
	return min(due.Sub(now.Round(0)), due.Sub(issued)-now.Sub(h.since))
}
