package contain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
)

const secret = "planted secret"

// secretError is an error that a panic may be called with.
type secretError struct{ text string }

func (e *secretError) Error() string { return e.text }

func TestGo(t *testing.T) {
	var list []int
	var table map[string]int
	for _, tc := range []struct {
		name string
		f    func() (string, error)
		err  string // "": none
		is   error  // nil: none but itself
		mark bool   // the function did not return
	}{
		{name: "value", f: func() (string, error) { return "value", nil }},
		{name: "error", f: func() (string, error) { return "", io.EOF }, err: "EOF", is: io.EOF},
		{name: "Goexit", f: func() (string, error) { runtime.Goexit(); return "value", nil }, err: "it called runtime.Goexit", mark: true},
		{name: "Goexit after a panic that it recovered from", f: func() (string, error) {
			defer runtime.Goexit()
			defer func() { _ = recover() }()
			panic(secret)
		}, err: "it called runtime.Goexit", mark: true},
		{name: "panic", f: func() (string, error) { panic(secret) }, err: "it panicked: a string", mark: true},
		{name: "panic of an error", f: func() (string, error) { panic(&secretError{secret}) },
			err: "it panicked: a *contain_test.secretError", mark: true},
		{name: "panic of an error with a meaning", f: func() (string, error) { panic(fmt.Errorf("%s: %w", secret, io.EOF)) },
			err: "it panicked: a *fmt.wrapError", mark: true},
		{name: "panic of nil", f: func() (string, error) { panic(nil) },
			err: "it panicked: " + new(runtime.PanicNilError).Error(), mark: true},
		{name: "index out of range", f: func() (string, error) { return fmt.Sprint(list[len(secret)]), nil },
			err: "it panicked: runtime error: index out of range [14] with length 0", mark: true},
		{name: "nil map", f: func() (string, error) { table[secret] = 1; return "", nil },
			err: "it panicked: assignment to entry in nil map", mark: true},
		{name: "nil function", err: "it panicked: runtime error: invalid memory address or nil pointer dereference", mark: true},
		{name: "panic in a deferred function", f: func() (string, error) {
			defer func() { panic(3) }()
			panic(secret)
		}, err: "it panicked: a int", mark: true},
		{name: "panic after Goexit", f: func() (string, error) {
			defer func() { panic(3) }()
			runtime.Goexit()
			return "", nil
		}, err: "it panicked: a int", mark: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var told *contain.Error
			broken := errors.New("broken")
			call := contain.Go("it", func(e *contain.Error) error {
				told = e
				return fmt.Errorf("%w: %w", broken, e)
			}, tc.f)
			for range 2 { // whoever asks gets it
				value, err := call.Result()
				if tc.err == "" {
					if value != "value" || err != nil {
						t.Fatalf("%q, %v", value, err)
					}
					continue
				}
				if (told != nil) != tc.mark || errors.Is(err, broken) != tc.mark {
					t.Fatalf("error %v, and broken was told %v", err, told)
				}
				if !tc.mark {
					if err != tc.is {
						t.Fatalf("error %v, want %v as it is", err, tc.is)
					}
					continue
				}
				if value != "" || err.Error() != "broken: "+tc.err || errors.Is(err, io.EOF) {
					t.Fatalf("%q and error %q, want %q", value, err, "broken: "+tc.err)
				}
				if as := new(secretError); errors.As(err, &as) {
					t.Fatal("the value of a panic can be had from the error")
				}
				if told.Name != "it" {
					t.Fatalf("name %q", told.Name)
				}
				if panics := !strings.HasSuffix(tc.err, "runtime.Goexit"); (told.Stack != nil) != panics {
					t.Fatalf("stack %q", told.Stack)
				}
				if all := fmt.Sprintf("%v %+v %#v %s", err, told, *told, told.Stack); strings.Contains(all, secret) {
					t.Fatalf("it shows the value of the panic: %s", all)
				}
			}
			// Without a function to tell, the error is the Error itself.
			_, err := contain.Go("it", nil, tc.f).Result()
			if _, ok := err.(*contain.Error); ok != tc.mark || err != nil && err.Error() != tc.err {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
		})
	}
}

// TestGoStack: the stack is that of the function, and not of who waits for it.
func TestGoStack(t *testing.T) {
	err := contain.Run("it", nil, explode)
	var e *contain.Error
	if !errors.As(err, &e) || !strings.Contains(string(e.Stack), "contain_test.explode") {
		t.Errorf("error %v with stack %s", err, e.Stack)
	}
}

func explode() error { panic(secret) }

func TestRun(t *testing.T) {
	if err := contain.Run("it", nil, func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := contain.Run("it", nil, func() error { return io.EOF }); err != io.EOF {
		t.Errorf("error %v, want %v", err, io.EOF)
	}
	err := contain.Run("it", func(*contain.Error) error { return io.EOF }, func() error { runtime.Goexit(); return nil })
	if err != io.EOF {
		t.Errorf("error %v, want that of broken", err)
	}
}

// TestGoConcurrent: all who wait get the same result, and read it after it was written.
func TestGoConcurrent(t *testing.T) {
	for range 100 {
		call := contain.Go("it", nil, func() ([]byte, error) { return []byte("value"), io.EOF })
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if call.Wait(context.Background(), 0) {
					if value, err := call.Result(); string(value) != "value" || err != io.EOF {
						t.Errorf("%q, %v", value, err)
					}
				}
			})
		}
		all.Wait()
	}
}

func TestWait(t *testing.T) {
	const timeout, grace, never = 5 * time.Second, 500 * time.Millisecond, -1
	for _, tc := range []struct {
		name    string
		returns time.Duration // after the call
		timeout time.Duration
		grace   time.Duration
		waits   time.Duration
		over    bool
	}{
		{"at once", 0, timeout, grace, 0, true},
		{"in time", time.Second, timeout, grace, time.Second, true},
		{"as it notices the end of its context", timeout, timeout, grace, timeout, true},
		{"in the grace", timeout + grace/2, timeout, grace, timeout + grace/2, true},
		{"after the grace", timeout + grace + 1, timeout, grace, timeout + grace, false},
		{"never", never, timeout, grace, timeout + grace, false},
		{"never, without a grace", never, timeout, 0, timeout, false},
		{"before a context that had ended", 0, 0, 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				call := contain.Go("it", nil, func() (int, error) {
					if tc.returns == never {
						<-release
					} else {
						time.Sleep(tc.returns)
					}
					return 1, nil
				})
				if tc.timeout == 0 {
					synctest.Wait() // it has returned
				}
				ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
				defer cancel()
				began := time.Now()
				if over := call.Wait(ctx, tc.grace); over != tc.over || time.Since(began) != tc.waits {
					t.Errorf("over %v after %v, want %v after %v", over, time.Since(began), tc.over, tc.waits)
				}
				close(release)
				// What was left behind can be had in the end.
				if value, err := call.Result(); value != 1 || err != nil {
					t.Errorf("%v, %v", value, err)
				}
				if !call.Wait(ctx, 0) {
					t.Error("it is not over after its result was had")
				}
			})
		})
	}
}
