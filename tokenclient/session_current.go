package tokenclient

import (
	"context"
	"errors"
	"math"
	"time"
)

// current returns the generation to send a request with. With a token that is not
// about to expire it waits for no lock and does no I/O.
func (s *Session) current(ctx context.Context) (*held, error) {
	h, err := s.asItIs(ctx)
	if err == nil && h.isSoft() {
		return s.inTime(ctx, h, time.Now())
	}
	return h, err
}

// unrefused is current for those who do not say what they send with it, nor whether they can
// send it again.
func (s *Session) unrefused(ctx context.Context) (*held, error) {
	refused := s.lastRefused()
	h, err := s.current(ctx)
	if err == nil && h.isOf(refused) {
		return s.afterRefusal(ctx, h, place{}, false)
	}
	return h, err
}

// afterRefusal returns what to send a request to at with, if h is of the generation that
// s.refused was before h was looked for (later it may be forgotten already). It waits for the
// refresh if the request is likely to be refused too, or cannot be sent again if it is. If
// there is no other token in the end, h is better than an error.
func (s *Session) afterRefusal(ctx context.Context, h *held, at place, replayable bool) (*held, error) {
	waits := false
	s.ask(func(st *state, _ time.Time) { waits = st.waits(h, at, replayable) })
	if !waits {
		return s.current(ctx) // h, unless it was refreshed meanwhile
	}
	next, err := s.refreshed(ctx, h, CauseRejected)
	next, err = s.orVouched(ctx, h, next, err)
	if err == nil || ctx.Err() != nil || errors.Is(err, errOtherLogin) {
		return next, err
	}
	next, err = s.current(ctx) // h, unless there was a login or logout
	if err == nil {
		err = next.follows(h, true)
	}
	return next, err
}

// inTime is current for a token h that expires soon or has expired.
func (s *Session) inTime(ctx context.Context, h *held, now time.Time) (*held, error) {
	switch overdue := h.overdue(now); {
	case overdue && s.serverRenews(h):
		// Whether the token still works is for the server to say; but another process
		// may have been sent a newer one.
		s.lookForNewer(ctx)
		next, err := s.asItIs(ctx)
		if err == nil {
			err = next.follows(h, false)
		}
		return s.orVouched(ctx, h, next, err)
	case !s.config().hasRefresher():
		return h, nil
	case !overdue:
		s.refreshEarly(h, CauseSoft)
		return h, nil
	}
	next, err := s.refreshed(ctx, h, CauseHard)
	next, err = s.orVouched(ctx, h, next, err)
	if err != nil && ctx.Err() == nil && s.stillHolds(h) && !h.expired(time.Now()) {
		return h, nil // a token that the server still takes is better than an error
	}
	return next, err
}

// serverRenews reports whether it is the API's server that may renew h when it has expired.
// A Refresher that presents the access token itself, as a heartbeat does, is no way out then:
// its refusal would end the session. One that has something else to present is.
func (s *Session) serverRenews(h *held) bool {
	return !s.config().hasRefresher() ||
		s.config().findsRenewed() && h.token().RefreshToken == "" && !s.config().canRefresh(new(Token))
}

// asItIs returns what the session holds, after a look at the store if that is
// nothing.
func (s *Session) asItIs(ctx context.Context) (*held, error) {
	h := s.holds()
	for !h.usable() {
		if err := s.look(ctx); err != nil {
			return nil, err
		}
		h = s.holds()
	}
	return h, nil
}

// refreshEarly starts a refresh that nobody waits for, when there is room for it: h is good
// for a while yet.
func (s *Session) refreshEarly(h *held, cause Cause) {
	if !s.takeUp(earlyRefresh) {
		return
	}
	if !s.mayRefreshEarly(h) {
		s.layDown(earlyRefresh)
		return
	}
	left := time.Duration(math.MaxInt64)
	if h.expires() {
		left = time.Until(h.hard())
	}
	s.whenRoom(left, func() bool { return s.startEarly(h, cause) })
}

// startEarly goes on with refreshEarly, and reports whether it does: a request that could not
// wait may have come first.
func (s *Session) startEarly(h *held, cause Cause) bool {
	begun := s.stillHolds(h) && s.mayRefreshEarly(h) && s.inBackground(func() {
		defer s.layDown(earlyRefresh)
		switch {
		case h.overdue(time.Now()):
			// KeepFresh was late: refresh as if a request waited.
			_, _ = s.refreshed(context.Background(), h, cause) // every flight ends, so this does
		case s.worthPresenting(h):
			<-s.fly("refresh", func() (any, error) { return s.refresh(h, cause) })
		}
	})
	if !begun {
		s.layDown(earlyRefresh)
	}
	return begun
}

func (s *Session) mayRefreshEarly(h *held) (may bool) {
	if h.expired(time.Now()) && s.serverRenews(h) {
		return false // the next request asks the server
	}
	s.ask(func(st *state, now time.Time) {
		may = st.mayRefreshEarly(h, s.config().canRefresh(h.token()), now)
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

// insteadOf returns the generation to use in the place of h, which the server refused.
// Generations are compared, not tokens: a late 401 must not start a second refresh.
func (s *Session) insteadOf(ctx context.Context, h *held) (next *held, err error) {
	if s.stillHolds(h) {
		next, err = s.refreshed(ctx, h, CauseRejected)
	} else {
		next, err = s.unrefused(ctx) // and it will not be sent a third time
	}
	if err == nil {
		err = next.follows(h, true)
	}
	return s.orVouched(ctx, h, next, err)
}

// orVouched returns what a request goes on with that waited for what follows h: next, or err; but
// if that is because of another login, that one, if StepUp vouches for it.
func (s *Session) orVouched(ctx context.Context, h, next *held, err error) (*held, error) {
	steps := s.config().steps()
	if steps == nil || !errors.Is(err, errOtherLogin) {
		return next, err
	}
	was, _ := h.login()
	is, _ := s.holds().login()
	if over := steps.pending(was, is); over != nil && ctx.Value(steppingKey{s.whole()}) == nil {
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	next, failed := s.current(ctx)
	switch {
	case failed != nil:
		return nil, failed
	case steps.isSameUser(h, next):
		return next, nil
	}
	return nil, next.follows(h, true)
}

// refreshInBackground refreshes what the server refused, for those who come later. One
// goroutine does that for all: the refresh may have to wait for long.
func (s *Session) refreshInBackground() {
	if !s.takeUp(refusedRefresh) {
		return
	}
	begun := s.inBackground(func() {
		var err error
		for h := s.holds(); err == nil && h.isOf(s.lastRefused()); h = s.holds() {
			_, err = s.refreshed(context.Background(), h, CauseRejected) // every flight ends, so this does
		}
		s.layDown(refusedRefresh)
		if err == nil && s.holds().isOf(s.lastRefused()) {
			s.refreshInBackground() // what came in between
		}
	})
	if !begun {
		s.layDown(refusedRefresh)
	}
}

// refreshed waits for the one refresh that replaces h, and for another one if that only brought
// to light what another process had stored, and it has expired since; or, once, if what it
// brought has expired while it was being stored: the machine may have slept.
func (s *Session) refreshed(ctx context.Context, h *held, cause Cause) (next *held, err error) {
	next, err = s.refreshedOnce(ctx, h, cause)
	for kept := false; err == nil && s.isStale(next, &kept); {
		if next, err = s.refreshedOnce(ctx, next, cause); err == nil {
			err = next.follows(h, cause == CauseRejected)
		}
	}
	return next, err
}

// isStale reports whether h is no good any more. What the server has just sent is taken as it
// is, however short it lives, unless it has expired, which it had not when it came, and none was
// kept for so long before.
func (s *Session) isStale(h *held, kept *bool) (stale bool) {
	now := time.Now()
	if !h.overdue(now) || s.serverRenews(h) {
		return false
	}
	s.ask(func(st *state, _ time.Time) { stale = st.isFromElsewhere(h) })
	if !stale && !*kept && h.expired(now) {
		stale, *kept = true, true
	}
	return stale
}

// refreshedOnce waits for the one refresh that replaces h. It leaves with ctx, and the refresh
// goes on without it. One that is forced is tried even shortly after one that failed.
func (s *Session) refreshedOnce(ctx context.Context, h *held, cause Cause) (next *held, err error) {
	if s.inside(ctx) {
		return nil, ErrReentrant
	}
	defer s.waitForRefresh(ctx)()
	for ctx.Err() == nil {
		released := s.release()
		if !s.stillHolds(h) {
			s.ask(func(st *state, _ time.Time) { next, err = st.whatFollows(h, cause == CauseRejected) })
			return next, err
		}
		r, ended := s.join(ctx, released, "refresh", func() (any, error) { return s.refresh(h, cause) })
		if ended {
			next, _ = r.Val.(*held)
			if over, err := answers(next, r.Err, h, cause); over {
				return next, err
			}
		}
	}
	return nil, ctx.Err()
}

// answers reports whether the end of a flight is what somebody waits for who needs another
// generation than h.
func answers(next *held, err error, h *held, cause Cause) (bool, error) {
	var idle errNotTried
	switch {
	case err == nil: // not enough: a flight that was begun for an older generation, whose successor is h
		return next.after(h), next.follows(h, cause == CauseRejected)
	case errors.Is(err, errFenced): // look at held again
		return false, nil
	case errors.As(err, &idle): // it was begun by somebody who respects the backoff; who forces does not
		return cause != CauseForced, idle.error
	}
	return true, err
}

// refresh is the one refresh of everybody who waits. It runs in a flight of its own, under
// the session's lifetime and nobody's context.
func (s *Session) refresh(h *held, cause Cause) (next *held, err error) {
	if !s.begin() {
		return nil, ErrClosed
	}
	defer s.finish()
	var f flight
	s.change(func(st *state, now time.Time) (fx effects) {
		f, next, fx, err = st.refreshBegins(h, cause, now)
		return fx
	})
	if next != nil || err != nil {
		return next, err
	}
	res, presented := s.exchangeWithRetry(f)
	if presented {
		defer s.presented()
	}
	return s.finishRefresh(f, res)
}
