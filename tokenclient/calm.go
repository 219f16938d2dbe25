package tokenclient

import "time"

// calm is a time in which requests go out with a token without asking the clock,
// which takes longer than everything else that a session does for one. It begins
// when requests come thick and fast, and a timer ends it.
//
// Timers and the monotonic clock stand still while a machine sleeps, and a token may
// expire meanwhile. So a calm lasts no longer than calmTime, after which a request
// asks the wall clock again.
type calm struct {
	held  *held // what the calm is about: another generation has none
	timer *time.Timer
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

// isCalm reports whether nothing is to be done about h, by what is known without a
// look at the clock.
func (s *Session) isCalm(h *held) bool {
	c := s.calm.Load()
	return c != nil && c.held == h
}

// mayCalm is told that a request asked the clock about h, and that it is time enough
// until soft. It waits for nobody.
func (s *Session) mayCalm(h *held, now, soft time.Time) {
	gap := now.UnixNano() - s.asked.Swap(now.UnixNano())
	d := min(calmTime, soft.Sub(now)-calmMargin)
	if gap < 0 || gap > int64(calmGap) || d <= 0 || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.held.Load() != h || s.isCalm(h) {
		return
	}
	s.endCalmLocked()
	c := &calm{held: h}
	c.timer = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.calm.Load() == c {
			s.calm.Store(nil)
		}
	})
	s.calm.Store(c)
}

func (s *Session) endCalmLocked() {
	if c := s.calm.Load(); c != nil {
		c.timer.Stop()
		s.calm.Store(nil)
	}
}
