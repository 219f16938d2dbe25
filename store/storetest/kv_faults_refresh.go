package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// refreshFaults are about refreshes: of their reads and writes, and of the call in between.
var refreshFaults = []kvRow{
	{"faults in a refresh", "an exchanged token that is not stored, or presented again, ends the session", true, faultsIn(2, func(f *faultCase) {
		var r tokenclient.Record
		f.beside(nil, func() {
			var err error
			began := time.Now()
			defer func() {
				if took := time.Since(began); took > longCall {
					f.errorf("Refresh took %v: it waited for itself", took)
				}
			}()
			r, err = f.refresh(f.seen, longCall, func(called *bool) refreshFunc { return f.fn(called, true) })
			if err != nil || r.Number != 2 {
				f.errorf("Refresh: number %d, error %v; want 2", r.Number, err)
			}
		})
		if n := f.judge.sent[f.seen.Token.RefreshToken]; n != 1 {
			f.errorf("the token was presented %d times, want once", n)
		}
		f.goesOn(r)
	})},
	{"faults in a refresh whose request is lost", "a token that may be spent must be known as one", true, faultsIn(1, func(f *faultCase) {
		called := false
		f.beside(nil, func() {
			_, err := f.refresh(f.seen, shortCall, func(c *bool) refreshFunc {
				fn := f.fn(c, false)
				return func(ctx context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
					called = true
					return fn(ctx, r)
				}
			})
			if errors.Is(err, errCut) != called || err != nil && !called {
				f.errorf("Refresh: fn called: %t, error %v; want fn's error if it was called", called, err)
			}
			r, err := f.refresh(f.seen, longCall, func(called *bool) refreshFunc { return f.fn(called, true) })
			if err != nil || r.Number != 2 {
				f.errorf("the second try: number %d, error %v; want 2", r.Number, err)
			}
		})
		if n := f.judge.sent[f.seen.Token.RefreshToken]; called && n != 2 || !called && n != 1 {
			f.errorf("the token was presented %d times; the first one was lost: %t", n, called)
		}
		f.goesOn(f.seen)
	})},
	{"faults in a refresh that sends nothing", "a network that is down for a while must cost nothing", true, faultsIn(1, func(f *faultCase) {
		f.beside(nil, func() {
			called := false
			_, err := f.refresh(f.seen, shortCall, func(c *bool) refreshFunc {
				return func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					*c, called = true, true
					return nil, fmt.Errorf("dial: %w", tokenclient.ErrNotPresented)
				}
			})
			if errors.Is(err, tokenclient.ErrNotPresented) != called || err != nil && !called {
				f.errorf("Refresh: fn called: %t, error %v; want fn's error if it was called", called, err)
			}
		})
		f.goesOn(f.seen)
	})},
	{"faults in a refresh that is refused", "a refused token that stays is presented by each process in turn", true, faultsIn(1, func(f *faultCase) {
		f.judge.current = ""
		ended := []error{tokenclient.ErrRefused, tokenclient.ErrNoToken}
		f.beside(ended, func() {
			_, err := f.refresh(f.seen, shortCall, func(called *bool) refreshFunc { return f.fn(called, true) })
			if !isOneOf(err, ended) {
				f.errorf("Refresh: %v; want ErrRefused or ErrNoToken", err)
			}
		})
		f.judge.reused = 0 // a token that is no good may be presented by several
		f.wantEnded(tokenclient.Refused)
	})},
}
