// Package awake has contexts that end when this process has run for a time, which is not
// when that time has passed.
//
// A process that is stopped (by ^Z, by a debugger, with a suspended machine) while it
// waits for an answer finds the answer there when it goes on, and all its timers run out
// at the same moment. With a context of package context chance would decide which of the
// two it notices, and so whether a token that exists nowhere else is thrown away. Here a
// timer that is late gives the answer another moment: 1 second more if it is late by 250
// ms, which is more than a busy machine makes it.
//
// So a context ends after its timeout, or after at most a second in which the process runs
// again. A process that is stopped again in that second is not given a third chance.
//
// The package knows nothing about tokens and about who waits for what.
package awake

import (
	"context"
	"sync"
	"time"
)

const (
	slack = 250 * time.Millisecond // a timer that is later than this was stopped
	grace = time.Second
)

// timeout is the context of WithTimeout.
type timeout struct {
	context.Context // for its values; it has no end
	deadline        time.Time
	done            chan struct{}

	mu    sync.Mutex // guards timer and err
	timer *time.Timer
	err   error
}

// WithTimeout returns a context that ends with context.DeadlineExceeded when this process
// has run for d, or with context.Canceled when cancel is called. It has the values of
// parent; the end of parent is not its own.
func WithTimeout(parent context.Context, d time.Duration) (ctx context.Context, cancel context.CancelFunc) {
	return withTimer(parent, d, d)
}

// withTimer is WithTimeout with a timer that runs out after timer, and not after d.
func withTimer(parent context.Context, d, timer time.Duration) (context.Context, context.CancelFunc) {
	c := &timeout{Context: context.WithoutCancel(parent), deadline: time.Now().Add(d), done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(timer, c.due)
	return c, func() { c.end(context.Canceled) }
}

func (c *timeout) due() {
	if time.Since(c.deadline) < slack {
		c.end(context.DeadlineExceeded)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.timer = time.AfterFunc(grace, func() { c.end(context.DeadlineExceeded) })
	}
}

func (c *timeout) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		c.timer.Stop()
		close(c.done)
	}
}

// Deadline is that of a process that is not stopped.
func (c *timeout) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *timeout) Done() <-chan struct{} { return c.done }

func (c *timeout) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
