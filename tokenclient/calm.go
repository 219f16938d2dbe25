package tokenclient

import (
	"maps"
	"net/http"
	"time"
)

// calm is a time in which requests go out with a token without asking the clock,
// which takes longer than everything else that a session does for one. It begins
// when requests come thick and fast, and a timer ends it. Until then it has room for
// what else makes them faster.
//
// Timers and the monotonic clock stand still while a machine sleeps, and a token may
// expire meanwhile. So a calm lasts no longer than calmTime, after which a request
// asks the wall clock again.
type calm struct {
	held  *held // what the calm is about: another generation has none
	timer *time.Timer

	// Maps that hold the token's header alone, to be copied: wide has room for
	// eight more. nil: the header is made for each request.
	narrow, wide http.Header
}

const (
	calmTime = time.Second

	// calmGap is how close together two requests must be for a calm to pay: it
	// costs as much as a few readings of the clock.
	calmGap = time.Millisecond

	// calmMargin is how long before something is to be done about a token a calm
	// must be over, because timers are late on a machine that is busy.
	calmMargin = 100 * time.Millisecond
)

// calmAbout returns the calm about h, in which nothing is to be done about it, or
// nil.
func (s *Session) calmAbout(h *held) *calm {
	if c := s.calm.Load(); c != nil && c.held == h {
		return c
	}
	return nil
}

// mayCalm is told that a request asked the clock about h, and how much time is left
// until something is to be done. It waits for nobody.
func (s *Session) mayCalm(h *held, now time.Time, left time.Duration) {
	gap := now.UnixNano() - s.asked.Swap(now.UnixNano())
	d := min(calmTime, left-calmMargin)
	if gap < 0 || gap > int64(calmGap) || d <= 0 || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.held.Load() != h || s.calmAbout(h) != nil {
		return
	}
	s.endCalmLocked()
	c := &calm{held: h}
	if h.value[0] != "" {
		c.narrow = http.Header{s.header: h.value[:]}
		c.wide = make(http.Header, 9)
		maps.Copy(c.wide, c.narrow)
	}
	c.timer = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.calm.Load() == c {
			s.calm.Store(nil)
		}
	})
	s.calm.Store(c)
}

// headerWith returns the headers of a request with h's token, whose caller set those of
// from and not the token's.
func (s *Session) headerWith(from http.Header, h *held) http.Header {
	if c := s.calmAbout(h); c != nil {
		switch len(from) {
		case 0:
			return maps.Clone(c.narrow)
		case 8: // which fill a map of their own
			to := maps.Clone(c.wide)
			maps.Copy(to, from)
			return to
		}
	}
	return withHeader(from, s.header, h.value[:])
}

func (s *Session) endCalmLocked() {
	if c := s.calm.Load(); c != nil {
		c.timer.Stop()
		s.calm.Store(nil)
	}
}
