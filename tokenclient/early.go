package tokenclient

import (
	"context"
	"errors"
	"time"
)

// refreshEarly starts a refresh that nobody waits for: h is good for a while yet.
func (s *Session) refreshEarly(h *held, cause Cause) {
	if !s.early.CompareAndSwap(false, true) {
		return
	}
	if s.pool != nil {
		s.pool.lines.refreshEarly(s, h, cause)
		return
	}
	s.startEarly(h, cause)
}

// startEarly goes on with refreshEarly when it is the session's turn.
func (s *Session) startEarly(h *held, cause Cause) {
	s.mu.Lock()
	waits := s.earlyWaitsLocked(h)
	if !waits {
		s.beginLocked()
	}
	s.mu.Unlock()
	if waits {
		s.early.Store(false)
		return
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
}

// earlyWaitsLocked reports whether there is to be no early refresh of h now.
func (s *Session) earlyWaitsLocked(h *held) bool {
	now, trouble := time.Now(), s.trouble.now()
	if s.closed || trouble.backoff.Pending(now) != nil {
		return true
	}
	return !h.overdue(now) && (trouble.earlier.Pending(now) != nil || !exchangeable(s.refresher, h.record.Token))
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
		s.troubleLocked().earlier.Failed(err, 0, 0, time.Now())
		return false
	case newer(r, seen) && s.supersededLocked(r):
		s.adoptLocked(r, true)
		return false
	case newer(r, seen), r.Announced > 0: // the former: a save of ours is under way
		s.troubleLocked().earlier.Failed(errAnnounced, 0, 0, time.Now())
		return false
	}
	return true
}

var errAnnounced = ErrAnnounced

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
