package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// insideKey marks the contexts that a session hands to its Refresher and Store.
type insideKey struct{ s *Session }

func (s *Session) inside(ctx context.Context) bool { return ctx.Value(insideKey{s}) != nil }

// insideContext returns ctx as one with which nothing can wait for a refresh of s.
func (s *Session) insideContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, insideKey{s}, true)
}

// work is what a session does by itself: its goroutines, all of which Close waits for.
type work struct {
	mu      sync.Mutex // guards the rest
	closed  bool
	running int
	now     *atWork // nil: nothing runs
}

// atWork is what there is while something runs. It does not change.
type atWork struct {
	// lifetime is the context of what the session does by itself; end ends it. It is not
	// any caller's, whose values and end would reach everybody else.
	lifetime context.Context
	end      context.CancelFunc

	closing chan struct{} // closed by Close, before end
	idle    chan struct{} // closed when the session is closed and nothing runs any more
}

// begin notes that something runs, unless the session is closed and idle: what it was doing
// before Close it may finish. finish follows.
func (s *Session) begin() bool {
	w := &s.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed && w.running == 0 {
		return false
	}
	if w.running++; w.running == 1 {
		w.now = &atWork{closing: make(chan struct{}), idle: make(chan struct{})}
		w.now.lifetime, w.now.end = context.WithCancel(context.WithValue(context.Background(), insideKey{s}, true))
	}
	return true
}

func (s *Session) finish() {
	w := &s.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running--; w.running > 0 {
		return
	}
	if w.closed {
		close(w.now.idle)
	}
	w.now.end()
	w.now = nil
}

// inBackground runs f as work of the session's, and reports whether it does.
func (s *Session) inBackground(f func()) bool {
	if !s.begin() {
		return false
	}
	go func() {
		defer s.finish()
		f()
	}()
	return true
}

// current returns what there is while something runs; nil if nothing does.
func (w *work) current() *atWork {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// close says that nothing is to be begun any more, and returns what runs still; nil if
// nothing does.
func (w *work) close() *atWork {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.now != nil {
		close(w.now.closing)
	}
	w.closed = true
	return w.now
}

// lifetime is the context of what s does by itself. It is for what runs between begin and
// finish.
func (s *Session) lifetime() context.Context { return s.work.current().lifetime }

// pause waits before the next try, or until the session is closed. It is for the same.
func (s *Session) pause(retry *limit.Retry) {
	timer := time.NewTimer(retry.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.work.current().closing:
	}
}

// closePatience is how long Close waits for a refresh that has not got hold of the
// stored token yet. It is long enough for one that has just begun, and ends the
// wait for another process.
const closePatience = time.Second

// await waits until w, the work of a session that is closed, is done. w may be nil.
func (w *atWork) await(ctx context.Context) error {
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

// Close ends the session: it waits for a refresh that is under way and for its
// result to be saved, but not for another process that holds the key. Requests
// and calls fail with ErrClosed from then on. Close does not log out: the stored
// token stays.
//
// If a refreshed or renewed token could not be stored Close tries a last time, and
// its error is a [*NotSavedError] if that fails: without that token the next process
// has to log in. If ctx ends first the error is ctx's too. Close may be called again, and
// does again what is left to do.
func (s *Session) Close(ctx context.Context) error {
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	w := s.work.close()
	s.host.changed(s)
	err := w.await(ctx)
	return errors.Join(append(s.saveAll(ctx), err)...)
}

// abandon ends a session that nobody has seen.
func (s *Session) abandon() {
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	if w := s.work.close(); w != nil {
		w.end()
	}
}

func (s *Session) isOpen() (open bool) {
	s.ask(func(st *state, _ time.Time) { open = !st.closed })
	return open
}

// A signal lets go of everybody who waits for it.
type signal struct {
	mu       sync.Mutex    // guards the rest
	next     chan struct{} // closed when it is sent; nil: nobody asked for it
	watchers int           // who may be waiting
}

// watch is called by who is going to wait. unwatch follows; the last one takes away what the
// signal needs.
func (g *signal) watch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watchers++
}

func (g *signal) unwatch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watchers--; g.watchers == 0 {
		g.next = nil
	}
}

// sent returns a channel that is closed when the signal is sent the next time. Who looks at
// the state after that misses nothing.
func (g *signal) sent() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = make(chan struct{})
	}
	return g.next
}

func (g *signal) send() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next != nil {
		close(g.next)
		g.next = nil
	}
}
