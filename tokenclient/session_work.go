package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// insideKey marks the contexts that a session hands to its Refresher and Store. Those of a
// part of it bear the mark of the whole: they have one hold on the key.
type insideKey struct{ whole *Session }

func (s *Session) inside(ctx context.Context) bool { return ctx.Value(insideKey{s.whole()}) != nil }

// whole returns the session that s is a part of, or s.
func (s *Session) whole() *Session {
	if p, ok := s.store.(*partStore); ok {
		return p.whole
	}
	return s
}

// insideHost marks them for the [host] of the session, which has more to wait for.
type insideHost struct{ host host }

// insideContext returns ctx as one with which nothing can wait for a refresh of s.
func (s *Session) insideContext(ctx context.Context) context.Context {
	whole := s.whole()
	return context.WithValue(context.WithValue(ctx, insideHost{whole.host}, true), insideKey{whole}, true)
}

// work is what a session does by itself: its goroutines, all of which Close waits for.
type work struct {
	mu      sync.Mutex // guards the rest
	closed  bool
	running int
	now     *atWork // nil: nothing runs

	presenting int           // refresh tokens that the server may have, and whose successors are not stored yet
	landed     chan struct{} // closed when presenting is 0; nil: nobody waits for it
	abandoned  bool          // Close has ended without waiting: nothing is presented any more
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

// begin notes that something runs. It returns false if the session is closed and nothing
// runs: what runs may begin more until it is done. finish follows.
func (s *Session) begin() bool {
	w := &s.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed && w.running == 0 {
		return false
	}
	if w.running++; w.running == 1 {
		w.now = &atWork{closing: make(chan struct{}), idle: make(chan struct{})}
		w.now.lifetime, w.now.end = context.WithCancel(s.insideContext(context.Background()))
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

// mayPresent reports whether a refresh token may be presented. presented follows, when its
// successor is stored or it is known that there is none.
func (w *work) mayPresent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.abandoned {
		w.presenting++
	}
	return !w.abandoned
}

func (w *work) presented() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.presenting--; w.presenting == 0 && w.landed != nil {
		close(w.landed)
		w.landed = nil
	}
}

// leave is for a Close that does not wait any longer: from then on nothing is presented. If
// something is, it returns a channel that is closed when that is over.
func (w *work) leave() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abandoned = true
	if w.presenting > 0 && w.landed == nil {
		w.landed = make(chan struct{})
	}
	return w.landed
}

// lifetime is the context of what s does by itself. It may be called only between begin and
// finish.
func (s *Session) lifetime() context.Context { return s.work.current().lifetime }

// pause waits before the next try, or until the session is closed. It may be called only then, too.
func (s *Session) pause(retry *limit.Retry) {
	timer := time.NewTimer(retry.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.work.current().closing:
	}
}

const (
	// closePatience is how long Close waits for a refresh that has not got hold of the
	// stored token yet. It is long enough for one that has just begun, and ends the
	// wait for another process.
	closePatience = time.Second

	// closeStoreTime is how long Close gives the Store when its context has ended.
	closeStoreTime = 10 * time.Second

	// closeLateTime is how much longer than RefreshTimeout Close waits for a Refresher or
	// Store that ignores the end of its context. A pair that comes late is worth that; but
	// one that called Close, with another context than its own, waits for Close.
	closeLateTime = time.Minute
)

// await waits until w, the work of s, which is closed, is done. w may be nil.
func (s *Session) await(ctx context.Context, w *atWork) error {
	if w == nil {
		return nil
	}
	patience := time.AfterFunc(closePatience, w.end)
	defer patience.Stop()
	defer w.end()
	late := time.NewTimer(s.timeout + closeLateTime)
	defer late.Stop()
	select {
	case <-w.idle:
		return nil
	case <-late.C:
		return errCloseLate
	case <-ctx.Done():
	}
	if s.storeless() {
		return errCloseLeft(ctx)
	}
	w.end()
	if landed := s.work.leave(); landed != nil {
		longest := time.NewTimer(s.timeout + closeStoreTime)
		defer longest.Stop()
		select {
		case <-landed:
		case <-longest.C:
		}
	}
	grace := time.NewTimer(calleeGrace) // what has ended takes a moment to say so
	defer grace.Stop()
	select {
	case <-w.idle:
		return nil
	case <-grace.C:
		return errCloseLeft(ctx)
	}
}

func errCloseLeft(ctx context.Context) error {
	return fmt.Errorf("tokenclient: Close did not wait for a refresh under way: %w", ctx.Err())
}

var errCloseLate = fmt.Errorf("%w: Close did not wait any longer for a Refresher or a Store that does not return when its context ends", errBroken)

// Close ends the session: it waits for a refresh that is under way and for its
// result to be saved, but not for another process that holds the key. Requests
// and calls fail with ErrClosed from then on. Close does not log out: the stored
// token stays.
//
// From the end of ctx on nothing more is presented to the server, and Close waits only for
// a refresh token that the server may have already, for Config.RefreshTimeout and 10
// seconds at most: a process that ended now would leave a spent token in the Store, and
// with it the next process would have to log in. So Close may be given a context that has
// ended, such as that of [os/signal.NotifyContext] after a signal. (A session without a
// Store has nothing to leave, and does not wait.)
//
// If a refreshed or renewed token could not be stored Close tries a last time, for
// Config.RefreshTimeout at most, whatever became of ctx. Its error is a [*NotSavedError] if
// that fails: without that token the next process has to log in. If ctx ended and something
// was not waited for, the error is ctx's too. Close may be called again, and does again
// what is left to do.
//
// A Refresher, Store, [ClientAuth] or any other callback that calls Close with the context
// it was given would wait for itself: the error is ErrReentrant, and nothing is closed. One
// that drops that context keeps Close waiting for Config.RefreshTimeout and a minute, as
// does any Refresher or Store that ignores the end of its context. Hooks may call Close:
// it does not wait for them.
func (s *Session) Close(ctx context.Context) error {
	if s.inside(ctx) {
		return fmt.Errorf("tokenclient: Close would wait for its own caller: %w", ErrReentrant)
	}
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	w := s.work.close()
	s.host.changed(s)
	var errs []error
	for _, part := range s.parts {
		errs = append(errs, part.Close(ctx))
	}
	errs = append(errs, s.await(ctx, w))
	return errors.Join(append(s.saveAll(context.WithoutCancel(ctx)), errs...)...)
}

// abandon ends a session that nobody has seen.
func (s *Session) abandon() {
	for _, part := range s.parts {
		part.abandon()
	}
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

// sent returns a channel that is closed when the signal is sent the next time. Take it first
// and look at the state then: nothing is missed.
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
