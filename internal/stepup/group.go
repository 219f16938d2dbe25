package stepup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds of what is asked for. A server may demand something else each time, and whoever is
// asked may wait for itself.
const (
	Again   = 30 * time.Second // for so long a demand is not asked for again
	Most    = 10               // demands of one maker are asked for within Again
	Longest = 20 * time.Minute // an asking lasts; a device code is good for 15
)

// maxOutcomes bounds those that are remembered.
const maxOutcomes = 1024

var (
	// ErrAsked says that it was asked for a moment ago.
	ErrAsked = errors.New("the same was asked for a moment ago")

	// ErrOften says that too much else was.
	ErrOften = errors.New("too much is demanded at a time")

	// ErrOver says that nobody can ask any more.
	ErrOver = errors.New("the session is closed")
)

// An Asking is how one demand may be satisfied.
type Asking struct {
	Generation uint64              // of the token that was sent
	Newest     func() uint64       // that of the newest one
	Start      func(f func()) bool // begins f on a goroutine that somebody owns; false: it does not

	// Ask returns nil if there is a token that satisfies. ctx ends when nobody waits, and after
	// Longest. Ask returns soon after that, and over is to be called once nothing of it runs
	// any more, which may be later.
	Ask func(ctx context.Context, over func()) error
}

// A Group has each demand asked for once. K says whose demand, and for what. The zero Group is
// ready. It is safe for concurrent use.
type Group[K comparable] struct {
	mu     sync.Mutex // guards what follows
	calls  map[K]*call
	last   map[K]outcome
	makers map[K]*maker
}

// A maker is who makes demands, and what was asked for because of them.
type maker struct {
	running int
	ended   []time.Time // within Again
}

// forgetLocked forgets what ended long ago, and reports whether nothing is left.
func (m *maker) forgetLocked(now time.Time) bool {
	m.ended = slices.DeleteFunc(m.ended, func(at time.Time) bool { return now.Sub(at) >= Again })
	return m.running == 0 && len(m.ended) == 0
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

// Do waits until k's demand, which of makes, is satisfied, which is nil, or is not: then the
// error is Ask's, ErrAsked, ErrOften, ErrOver, or ctx's.
func (g *Group[K]) Do(ctx context.Context, of, k K, a Asking) error {
	for {
		c, mine, err := g.join(of, k, a)
		if c == nil {
			return err
		}
		select {
		case <-c.done:
			if mine {
				return c.err
			}
			// It was left by all, and has ended: k is asked for anew.
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
func (g *Group[K]) join(of, k K, a Asking) (c *call, mine bool, err error) {
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
	m := g.makerLocked(of, time.Now())
	if m.running+len(m.ended) >= Most {
		return nil, false, ErrOften
	}
	lifetime, cancel := context.WithTimeout(context.Background(), Longest)
	c = &call{done: make(chan struct{}), cancel: cancel, waiters: 1}
	if !a.Start(func() { g.run(lifetime, k, c, m, a) }) {
		cancel()
		return nil, false, ErrOver
	}
	if g.calls == nil {
		g.calls, g.last, g.makers = make(map[K]*call), make(map[K]outcome), make(map[K]*maker)
	}
	g.calls[k], g.makers[of] = c, m
	m.running++
	return c, true, nil
}

// makerLocked returns what is known of that maker, and forgets those who were long quiet.
func (g *Group[K]) makerLocked(of K, now time.Time) *maker {
	maps.DeleteFunc(g.makers, func(_ K, m *maker) bool { return m.forgetLocked(now) })
	if m := g.makers[of]; m != nil {
		return m
	}
	return new(maker)
}

// run asks because of m.
func (g *Group[K]) run(ctx context.Context, k K, c *call, m *maker, a Asking) {
	defer c.cancel()
	c.err = a.Ask(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		m.running--
		m.ended = append(m.ended, time.Now())
	})
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
