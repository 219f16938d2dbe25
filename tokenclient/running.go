package tokenclient

import (
	"context"
	"sync"
	"time"
)

const (
	stoppedSlack = 250 * time.Millisecond // a timer that is later than this was stopped
	stoppedGrace = time.Second
)

// runningContext ends with context.DeadlineExceeded when this process has run for
// a time. A process that is stopped (by ^Z, a debugger, a suspended machine) in the
// middle of a refresh finds the answer waiting when it goes on, and all its timers
// run out at the same moment: with an ordinary context, chance would decide whether
// a token that exists nowhere else is thrown away. So a timer that is late gives
// the answer another moment.
type runningContext struct {
	context.Context
	deadline time.Time
	done     chan struct{}

	mu    sync.Mutex // guards timer and err
	timer *time.Timer
	err   error
}

func withRunningTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := &runningContext{Context: parent, deadline: time.Now().Add(d), done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(d, c.due)
	return c, func() { c.end(context.Canceled) }
}

func (c *runningContext) due() {
	if time.Since(c.deadline) < stoppedSlack {
		c.end(context.DeadlineExceeded)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.timer = time.AfterFunc(stoppedGrace, func() { c.end(context.DeadlineExceeded) })
	}
}

func (c *runningContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		c.timer.Stop()
		close(c.done)
	}
}

// Deadline is that of a process that is not stopped.
func (c *runningContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *runningContext) Done() <-chan struct{} { return c.done }

func (c *runningContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
