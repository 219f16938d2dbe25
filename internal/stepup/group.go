package stepup

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Again is how long a demand is not asked for again.
const Again = 30 * time.Second

// maxOutcomes bounds those that are remembered: a server may demand something else each time.
const maxOutcomes = 1024

var (
	// ErrAsked says that it was asked for a moment ago.
	ErrAsked = errors.New("the same was asked for a moment ago")

	// ErrOver says that nobody can ask any more.
	ErrOver = errors.New("the session is closed")
)

// An Asking is how one demand may be satisfied.
type Asking struct {
	Generation uint64                          // of the token that was sent
	Newest     func() uint64                   // that of the newest one
	Start      func(f func()) bool             // begins f on a goroutine that somebody owns; false: it does not
	Ask        func(ctx context.Context) error // returns nil if there is a token that satisfies; ctx ends when nobody waits
}

// A Group has each demand asked for once. K says whose demand, and for what. The zero Group is
// ready. It is safe for concurrent use.
type Group[K comparable] struct {
	mu    sync.Mutex // guards what follows
	calls map[K]*call
	last  map[K]outcome
}

// A call is an asking under way.
type call struct {
	done    chan struct{} // closed when err is set
	err     error
	cancel  context.CancelFunc
	waiters int // 0: it was cancelled
}

type outcome struct {
	at         time.Time
	satisfied  bool
	generation uint64 // from which on it is
}

// Do waits until k's demand is satisfied, which is nil, or is not: then the error is Ask's,
// ErrAsked, ErrOver, or ctx's.
func (g *Group[K]) Do(ctx context.Context, k K, a Asking) error {
	for {
		c, mine, err := g.join(k, a)
		if c == nil {
			return err
		}
		select {
		case <-c.done:
			if !mine { // it was left by all, and has ended
				continue
			}
			return c.err
		case <-ctx.Done():
			if mine {
				g.leave(c)
			}
			return ctx.Err()
		}
	}
}

// join returns the call to wait for, and whether the caller is one of its waiters; or no call,
// and the outcome.
func (g *Group[K]) join(k K, a Asking) (c *call, mine bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c = g.calls[k]; c != nil {
		if c.waiters > 0 {
			c.waiters++
			mine = true
		}
		return c, mine, nil
	}
	if o, ok := g.last[k]; ok {
		switch {
		case o.satisfied && a.Generation < o.generation:
			return nil, false, nil
		case time.Since(o.at) < Again:
			return nil, false, ErrAsked
		}
	}
	lifetime, cancel := context.WithCancel(context.Background())
	c = &call{done: make(chan struct{}), cancel: cancel, waiters: 1}
	if !a.Start(func() { g.run(lifetime, k, c, a) }) {
		cancel()
		return nil, false, ErrOver
	}
	if g.calls == nil {
		g.calls, g.last = make(map[K]*call), make(map[K]outcome)
	}
	g.calls[k] = c
	return c, true, nil
}

// run asks.
func (g *Group[K]) run(ctx context.Context, k K, c *call, a Asking) {
	defer c.cancel()
	c.err = a.Ask(ctx)
	newest := a.Newest()
	g.mu.Lock()
	delete(g.calls, k)
	if c.waiters > 0 || c.err == nil {
		g.forgetLocked()
		g.last[k] = outcome{time.Now(), c.err == nil, newest}
	}
	g.mu.Unlock()
	close(c.done)
}

// leave ends c if nobody waits for it any more.
func (g *Group[K]) leave(c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.waiters--; c.waiters == 0 {
		c.cancel()
	}
}

// forgetLocked makes room for one outcome more.
func (g *Group[K]) forgetLocked() {
	for k, o := range g.last {
		if !o.satisfied && time.Since(o.at) >= Again {
			delete(g.last, k)
		}
	}
	if len(g.last) >= maxOutcomes {
		clear(g.last)
	}
}
