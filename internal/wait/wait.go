// Package wait has two ways to wait that take next to no memory while nobody does, for those
// who have one of each in a million sessions, most of which do nothing.
//
// A [Signal] lets go of all who wait for something that has become pointless. A [Lock] is with
// one at a time, and the others wait for it with their contexts. Nobody who waits holds a
// mutex, and a channel is made only when somebody waits.
package wait

import (
	"context"
	"sync"
)

// A Signal lets go of everybody who waits for it. The zero Signal is ready for use. It must
// not be copied.
type Signal struct {
	mu       sync.Mutex    // guards the rest
	next     chan struct{} // closed when it is sent; nil: nobody asked for it
	watchers int           // who may be waiting
}

// Watch is called by who is going to wait. Unwatch follows; the last one takes away what the
// signal needs.
func (g *Signal) Watch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watchers++
}

// Unwatch ends what Watch began.
func (g *Signal) Unwatch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watchers--; g.watchers == 0 {
		g.next = nil
	}
}

// Sent returns a channel that is closed when the signal is sent the next time. Take it first
// and look at what may have changed then: nothing is missed.
func (g *Signal) Sent() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = make(chan struct{})
	}
	return g.next
}

// Send lets go of those who wait. Who comes later waits for the next time.
func (g *Signal) Send() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next != nil {
		close(g.next)
		g.next = nil
	}
}

// A Lock is with one at a time. The zero Lock is with nobody. It must not be copied.
type Lock struct {
	mu   sync.Mutex    // guards over
	over chan struct{} // closed when who has it leaves it; nil: nobody has it
}

// Take waits until the lock is the caller's, who leaves it with Leave. The error is ctx's, if
// that ends first.
func (l *Lock) Take(ctx context.Context) error {
	for {
		over := l.try()
		if over == nil {
			return nil
		}
		select {
		case <-over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try takes the lock, or returns what is closed when it is left.
func (l *Lock) try() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		return l.over
	}
	l.over = make(chan struct{})
	return nil
}

// Leave lets the next one have it.
func (l *Lock) Leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.over)
	l.over = nil
}

// Taken reports whether somebody has it.
func (l *Lock) Taken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over != nil
}
