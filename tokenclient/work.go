package tokenclient

import (
	"context"
	"fmt"
	"time"
)

// work is what a session has while goroutines of its own run. Session.mu guards the
// pointer to it; work itself does not change.
type work struct {
	// lifetime is the context of what the session does by itself; end ends it.
	// It is not any caller's, whose values and end would reach everybody else.
	lifetime context.Context
	end      context.CancelFunc

	closing chan struct{} // closed by Close, before end
	idle    chan struct{} // closed when the session is closed and the work done
}

// begin notes that a goroutine of the session's own runs, unless the session is
// closed and idle: what it was doing before Close it may finish. finish follows.
func (s *Session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && s.running == 0 {
		return false
	}
	s.beginLocked()
	return true
}

// beginLocked is begin for a session that is not closed.
func (s *Session) beginLocked() {
	if s.running++; s.running > 1 {
		return
	}
	w := &work{closing: make(chan struct{}), idle: make(chan struct{})}
	w.lifetime, w.end = context.WithCancel(s.insideContext())
	s.work = w
}

func (s *Session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.running > 0 {
		return
	}
	if s.closed {
		close(s.work.idle)
	}
	s.work.end()
	s.work = nil
}

// abandon ends a session that nobody has seen.
func (s *Session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.work != nil {
		close(s.work.closing)
		s.work.end()
	}
}

// atWork returns the work of s. It is for what runs between begin and finish.
func (s *Session) atWork() *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.work
}

// lifetime is that of the work of s, for the same.
func (s *Session) lifetime() context.Context { return s.atWork().lifetime }

// insideContext returns a context that never ends, and with which nothing can wait
// for a refresh of s.
func (s *Session) insideContext() context.Context {
	return context.WithValue(context.Background(), insideKey{s}, true)
}

// closePatience is how long Close waits for a refresh that has not got hold of the
// stored token yet. It is long enough for one that has just begun, and ends the
// wait for another process.
const closePatience = time.Second

// await waits until w, the work of a session that is closed, is done. w may be nil.
func (w *work) await(ctx context.Context) error {
	if w == nil {
		return nil
	}
	patience := time.AfterFunc(closePatience, w.end)
	defer patience.Stop()
	defer w.end()
	select {
	case <-w.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("tokenclient: Close did not wait for a refresh under way: %w", ctx.Err())
	}
}
