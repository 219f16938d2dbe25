// Package contain calls functions that a user of the library wrote, which may do
// anything: panic, end their goroutine, ignore the context that they were given.
//
// Each runs on a goroutine of its own ([Go]). A panic there would end the process,
// and a runtime.Goexit (by t.FailNow, for one) would leave everybody waiting for ever who
// waits for the result; on a goroutine of the library it would take the library's own
// work with it. Here both are an error like any other, an [*Error]. What the function
// returns is delivered once it has returned, to everybody who asks, and its value cannot
// be read before that.
//
// A function that ignores its context cannot be stopped. Who waits for it waits until a
// little after its context has ended ([Call.Wait]), so that a function which notices the
// end still has the time to say so, and then leaves it behind. The [Call] stays: what
// the function returns in the end can be had from it.
//
// # Secrets
//
// The value of a panic may be anything, a token included, and errors are printed. So an
// Error shows the type of the value and not the value, unless that is a runtime.Error,
// which says what went wrong and holds no data. Nor does an Error wrap the value: a panic
// with an error that means something to a caller must not mean the same. The stack is for
// whoever logs; the arguments in it are addresses.
//
// # What it does not know
//
// What the function is for, what it means that it failed, and logging: each call hands
// over a function, broken, that is told and makes the error. Functions whose panic is to
// end the process, as that of a hook is, are not called through this package.
package contain

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// An Error says that a function did not return.
type Error struct {
	Name  string // of the function
	Stack []byte // of its panic; nil: it called runtime.Goexit
	what  string // it did
}

func (e *Error) Error() string { return e.Name + " " + e.what }

// panicked must be called while v is recovered from: it takes the stack.
func panicked(name string, v any) *Error {
	what := fmt.Sprintf("a %T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	return &Error{Name: name, Stack: debug.Stack(), what: "panicked: " + what}
}

// A Call is a call of a function that returns a T, under way or over. Its methods may be
// called by several goroutines.
type Call[T any] struct {
	done  chan struct{} // closed when the rest is written
	value T
	err   error
}

// Go calls f, which errors call name, on a goroutine of its own. If f does not return,
// broken makes the error that is delivered, on that goroutine; nil delivers the *Error.
func Go[T any](name string, broken func(*Error) error, f func() (T, error)) *Call[T] {
	c := &Call[T]{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		failed := &Error{Name: name, what: "called runtime.Goexit"} // unless f returns
		defer func() {
			if v := recover(); v != nil {
				failed = panicked(name, v)
			}
			switch {
			case failed == nil:
			case broken == nil:
				c.err = failed
			default:
				c.err = broken(failed)
			}
		}()
		c.value, c.err = f()
		failed = nil
	}()
	return c
}

// Wait waits until c is over, and for no longer than grace after the end of ctx. It
// reports whether c is over.
func (c *Call[T]) Wait(ctx context.Context, grace time.Duration) bool {
	select {
	case <-c.done:
		return true
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
	}
	select {
	case <-c.done: // both came while the process was stopped
		return true
	default:
		return false
	}
}

// Result waits until c is over, and returns what came of it.
func (c *Call[T]) Result() (T, error) {
	<-c.done
	return c.value, c.err
}

// Run is [Go] for a function without a value, and waits for it.
func Run(name string, broken func(*Error) error, f func() error) error {
	_, err := Go(name, broken, func() (struct{}, error) { return struct{}{}, f() }).Result()
	return err
}
