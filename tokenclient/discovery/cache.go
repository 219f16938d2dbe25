package discovery

import (
	"context"
	"sync"
	"time"
)

const (
	maxEntries = 100
	staleRetry = time.Minute // between two tries to replace what is too old
)

// A cache remembers what was fetched, by what was asked for, and lets those who ask for
// the same at the same time share one fetch. What it returns is shared. The zero cache is
// ready for use.
type cache[T any] struct {
	mu      sync.Mutex // guards entries and what is in them
	entries map[string]*entry[T]
}

// An entry has a value, a flight, or both.
type entry[T any] struct {
	value          *T // nil: none yet
	fetched, until time.Time
	flight         *flight[T] // nil: none
}

// A flight is a fetch under way. It is its leader's, who makes it; the others wait for
// done, and then read.
type flight[T any] struct {
	done  chan struct{} // closed at its end
	left  bool          // its leader left: there is no result
	value *T
	err   error
}

// A fetchFunc also says how long its result may be kept.
type fetchFunc[T any] func(context.Context) (*T, time.Duration, error)

// get returns what there is under that name, or what do returns, which gets ctx.
func (c *cache[T]) get(ctx context.Context, name string, do fetchFunc[T]) (*T, error) {
	for {
		value, f, leads := c.begin(name)
		switch {
		case value != nil:
			return value, nil
		case leads:
			return c.lead(ctx, name, f, do)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !f.left {
			return f.value, f.err
		}
	}
}

// begin returns a value that is young enough, or that somebody else is about to replace;
// or a flight, and whether the caller leads it.
func (c *cache[T]) begin(name string) (value *T, f *flight[T], leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	if e == nil {
		if c.entries == nil {
			c.entries = make(map[string]*entry[T])
		}
		e = new(entry[T])
		c.entries[name] = e
	}
	now := time.Now()
	if e.value != nil && (now.Before(e.until) || e.flight != nil && e.serves(now)) {
		return e.value, nil, false
	}
	if e.flight == nil {
		e.flight, leads = &flight[T]{done: make(chan struct{}), left: true}, true
	}
	return nil, e.flight, leads
}

// serves reports whether the value may be used for want of a newer one.
func (e *entry[T]) serves(now time.Time) bool {
	return e.value != nil && now.Before(e.fetched.Add(maxLifetime))
}

// lead makes the fetch. If it panics, or its context ends, the leader has left.
func (c *cache[T]) lead(ctx context.Context, name string, f *flight[T], do fetchFunc[T]) (*T, error) {
	defer c.end(name, f)
	value, keep, err := do(ctx)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	f.value, f.err = c.settle(name, value, keep, err)
	f.left = f.err != nil && ctx.Err() != nil
	return f.value, f.err
}

// settle returns what came of a fetch: its value, or an older one for want of it.
func (c *cache[T]) settle(name string, value *T, keep time.Duration, err error) (*T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, now := c.entries[name], time.Now()
	switch {
	case err == nil:
		e.value, e.fetched, e.until = value, now, now.Add(keep)
		c.evict()
	case e.serves(now):
		e.until = now.Add(staleRetry)
		return e.value, nil
	}
	return value, err
}

// end ends a flight, and forgets a name that has nothing.
func (c *cache[T]) end(name string, f *flight[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	e.flight = nil
	if e.value == nil {
		delete(c.entries, name)
	}
	close(f.done)
}

// evict drops what is the first to be too old. What is being fetched stays.
func (c *cache[T]) evict() {
	if len(c.entries) <= maxEntries {
		return
	}
	first, until := "", time.Time{}
	for name, e := range c.entries {
		if e.flight == nil && (until.IsZero() || e.until.Before(until)) {
			first, until = name, e.until
		}
	}
	if !until.IsZero() {
		delete(c.entries, first)
	}
}
