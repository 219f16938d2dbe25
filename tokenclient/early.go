package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// refreshEarly starts a refresh that nobody waits for, when there is room for it: h is
// good for a while yet.
func (s *Session) refreshEarly(h *held, cause Cause) {
	if !s.early.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	waits := s.earlyWaitsLocked(h)
	s.mu.Unlock()
	if waits {
		s.early.Store(false)
		return
	}
	left := time.Duration(math.MaxInt64)
	if h.expires() {
		left = time.Until(h.before(h.hard))
	}
	s.host.whenRoom(s, left, func() bool { return s.startEarly(h, cause) })
}

// startEarly goes on with refreshEarly, and reports whether it does: a request that could
// not wait may have come first.
func (s *Session) startEarly(h *held, cause Cause) bool {
	s.mu.Lock()
	waits := s.held.Load().generation != h.generation || s.earlyWaitsLocked(h)
	if !waits {
		s.beginLocked()
	}
	s.mu.Unlock()
	if waits {
		s.early.Store(false)
		return false
	}
	go func() {
		defer s.finish()
		defer s.early.Store(false)
		switch {
		case h.overdue(time.Now()):
			// It was kept fresh so far, and now somebody has to, as if a request
			// waited for it.
			_, _ = s.refreshed(context.Background(), h, cause) // every flight ends, so this does
		case s.worthPresenting(h):
			<-s.flights.DoChan("refresh", func() (any, error) { return s.refresh(h, cause) })
		}
	}()
	return true
}

// earlyWaitsLocked reports whether there is to be no early refresh of h now.
func (s *Session) earlyWaitsLocked(h *held) bool {
	now, trouble := time.Now(), s.trouble.now()
	if s.closed || trouble.backoff.pending(now) != nil {
		return true
	}
	return !h.overdue(now) && (trouble.earlier.pending(now) != nil || !exchangeable(s.refresher, h.record.Token))
}

// worthPresenting looks at the store before an early refresh, and takes what
// another process put there. A refresh token that somebody else may be
// presenting, or has died presenting, is left alone as long as the access token
// is good.
func (s *Session) worthPresenting(h *held) bool {
	if !s.begin() {
		return false
	}
	defer s.finish()
	r, err := s.load(s.lifetime())
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.held.Load()
	seen := now.record
	if s.closed {
		seen = h.record // what was held when Close came
	}
	switch {
	case !s.closed && now.generation != h.generation:
		return false
	case s.closed && (err != nil || newer(r, seen)):
		return false
	case errors.Is(err, ErrNoToken):
		s.endLocked(ErrLoginRequired, false)
		return false
	case err != nil:
		s.troubleLocked().earlier.failed(err, 0, 0, time.Now().Round(0))
		return false
	case newer(r, seen) && s.supersededLocked(r):
		s.adoptLocked(r, true)
		return false
	case newer(r, seen), r.Announced > 0: // the former: a save of ours is under way
		s.troubleLocked().earlier.failed(errAnnounced, 0, 0, time.Now().Round(0))
		return false
	}
	return true
}

var errAnnounced = fmt.Errorf("%w: somebody else may have presented it", ErrNotPresented)

// newer reports whether r, from the store, comes after what a session holds.
func newer(r, held Record) bool { return r.Era != held.Era || r.Number > held.Number }

// exchangeable reports whether r can do anything with t, as far as is known.
func exchangeable(r Refresher, t *Token) bool {
	if t.RefreshToken != "" {
		return true
	}
	switch r := r.(type) {
	case *OAuth2Refresher:
		return false
	case *JSONRefresher:
		return r.SendAccessToken || r.Attacher != nil
	}
	return true
}
