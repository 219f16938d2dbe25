// Package work is what one owner does by itself: goroutines that begin when there is something
// to do, share one context, and are all over when the owner's end has waited for them.
//
// # What runs
//
// Whatever runs is between [Work.Begin] and [Work.Finish]. The first one to begin makes the
// context, [Now.Lifetime], and the last one to finish ends it: an owner that does nothing takes
// no memory for it. The context is no caller's, whose values and end would reach everybody else.
//
// After [Work.Close] nothing begins any more, but what runs may begin more until it is done.
//
// # The end
//
// [Work.Wait] waits for what runs, with bounds that its caller sets (see [Patience]). Some of
// it must not be cut short, because what it brings exists nowhere else yet: a refresh token that
// a server may have, and whose successor is not stored. Such a stretch is between
// [Work.MayPresent] and [Work.Presented]. Who waits for nothing else any more waits for these,
// and from then on none of them begins.
package work

import (
	"context"
	"sync"
	"time"
)

// Work is what one owner does by itself. The zero Work has not begun. It must not be copied.
type Work struct {
	mu      sync.Mutex // guards the rest
	closed  bool
	running int
	now     *Now // nil: nothing runs

	presenting int           // stretches that must not be cut short
	landed     chan struct{} // closed when presenting is 0; nil: nobody waits for it
	abandoned  bool          // Wait has ended without waiting: nothing is presented any more
}

// Now is what there is while something runs. It does not change.
type Now struct {
	// Lifetime is the context of all that runs.
	Lifetime context.Context

	// Closing is closed by Close, before Lifetime ends.
	Closing <-chan struct{}

	end     context.CancelFunc
	closing chan struct{}
	idle    chan struct{} // closed when the work is closed and nothing runs any more
}

// End ends the Lifetime.
func (n *Now) End() { n.end() }

// Begin notes that something runs, under a context that the first one makes of parent's. It
// returns false if the work is closed and nothing runs. Finish follows.
func (w *Work) Begin(parent func() context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed && w.running == 0 {
		return false
	}
	if w.running++; w.running == 1 {
		n := &Now{closing: make(chan struct{}), idle: make(chan struct{})}
		n.Lifetime, n.end = context.WithCancel(parent())
		n.Closing = n.closing
		w.now = n
	}
	return true
}

// Finish ends what Begin began.
func (w *Work) Finish() {
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

// Now returns what there is while something runs; nil if nothing does.
func (w *Work) Now() *Now {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Close says that nothing is to be begun any more, and returns what runs still; nil if nothing
// does.
func (w *Work) Close() *Now {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.now != nil {
		close(w.now.closing)
	}
	w.closed = true
	return w.now
}

// MayPresent reports whether a stretch may begin that must not be cut short. If so, Presented
// follows.
func (w *Work) MayPresent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.abandoned {
		w.presenting++
	}
	return !w.abandoned
}

// Presented ends what MayPresent began.
func (w *Work) Presented() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.presenting--; w.presenting == 0 && w.landed != nil {
		close(w.landed)
		w.landed = nil
	}
}

// abandon is for who does not wait any longer: from then on MayPresent says no. If something
// runs that must not be cut short, it returns what is closed when that is over.
func (w *Work) abandon() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abandoned = true
	if w.presenting > 0 && w.landed == nil {
		w.landed = make(chan struct{})
	}
	return w.landed
}

// Patience is for how long Wait waits.
type Patience struct {
	End   time.Duration // until the Lifetime ends, if what runs does not
	Most  time.Duration // until nothing is waited for that does not heed the end
	Stays bool          // what is presented is waited for also when the caller's context has ended
	Land  time.Duration // for that, at most
	Grace time.Duration // and then for what has ended to say so
}

// A Verdict is how Wait ended.
type Verdict uint8

const (
	Done    Verdict = iota // nothing runs any more
	Left                   // the caller's context ended first
	TooLate                // something does not heed the end
)

// Wait waits until n, which Close returned, is done. n may be nil.
func (w *Work) Wait(ctx context.Context, n *Now, p Patience) Verdict {
	if n == nil {
		return Done
	}
	defer n.end()
	end := time.AfterFunc(p.End, n.end)
	defer end.Stop()
	most := time.NewTimer(p.Most)
	defer most.Stop()
	select {
	case <-n.idle:
		return Done
	case <-most.C:
		return TooLate
	case <-ctx.Done():
	}
	if !p.Stays {
		return Left
	}
	n.end()
	if landed := w.abandon(); landed != nil {
		within(p.Land, landed)
	}
	if within(p.Grace, n.idle) {
		return Done
	}
	return Left
}

// within waits for c, for d at most, and reports whether it is closed.
func within(d time.Duration, c <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}
