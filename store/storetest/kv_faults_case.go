package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A faultCase is one fault in one operation of a process, beside others that have none.
type faultCase struct {
	*kvCheck
	name   string
	key    string
	kv     *faultyKV
	a      *store.Shared   // the process with the fault
	others []*store.Shared // and those without
	judge  *judge
	seen   tokenclient.Record // of the login that all have
}

func (f *faultCase) errorf(format string, args ...any) {
	f.t.Helper()
	f.kvCheck.errorf(f.name+": "+format, args...)
}

// newFaultCase returns a case of a process with kv beside others.
func newFaultCase(c *kvCheck, name, key string, kv *faultyKV, others int) *faultCase {
	kv.KV = c.kv
	return &faultCase{kvCheck: c, name: name, key: key, kv: kv, others: make([]*store.Shared, others)}
}

// faultsIn returns the run of a row that tries act with all faults at each
// operation, alone and beside up to others that refresh the same token.
func faultsIn(others int, act func(f *faultCase)) func(c *kvCheck) {
	return func(c *kvCheck) {
		type combination struct {
			fault      fault
			at, others int
		}
		var all []combination
		for kind := range faults {
			for at := 1; at <= 5; at++ {
				for n := range others + 1 {
					if at == 1 && !kind.ofReads() {
						continue // the first one is a Get
					}
					all = append(all, combination{kind, at, n})
				}
			}
		}
		var keys atomic.Int32 // a case that is tried again needs another one
		atOnce := make(chan struct{}, 16)
		want := c.scale(len(all))
		var wg sync.WaitGroup
		for i := range want {
			x := all[i*len(all)/want]
			name := fmt.Sprintf("operation %d %s, beside %d others", x.at, faultNames[x.fault], x.others)
			atOnce <- struct{}{}
			wg.Go(func() {
				defer func() { <-atOnce }()
				c.fairly(func(c *kvCheck) (surely bool) {
					key := fmt.Sprintf("key %d", keys.Add(1))
					return newFaultCase(c, name, key, &faultyKV{fault: x.fault, at: x.at}, x.others).try(act)
				})
			})
		}
		wg.Wait()
	}
}

// try is a caseFunc. No slowness excuses a presentation that was not announced.
func (f *faultCase) try(act func(f *faultCase)) (surely bool) {
	clean := shared(f.t, f.kvCheck.kv)
	f.a = shared(f.t, f.kv)
	for i := range f.others {
		f.others[i] = shared(f.t, f.kvCheck.kv)
	}
	var first *tokenclient.Token
	var err error
	f.judge, first = newJudge()
	if f.seen, _, err = clean.Replace(f.ctx(), f.key, first); err != nil {
		f.errorf("login: %v", err)
		return false
	}
	act(f)
	f.judge.mu.Lock()
	defer f.judge.mu.Unlock()
	if f.judge.unannounced > 0 || f.judge.reused > 0 {
		f.errorf("%d tokens presented that were not announced, %d that were exchanged already", f.judge.unannounced, f.judge.reused)
	}
	return f.judge.unannounced > 0
}

// beside runs do while the others refresh, and returns when all are done. The errors
// in allowed are none for them.
func (f *faultCase) beside(allowed []error, do func()) {
	var wg sync.WaitGroup
	for _, s := range f.others {
		wg.Go(func() {
			if _, err := s.Refresh(f.ctx(), f.key, f.seen, longCall, f.fn(nil, true)); err != nil && !isOneOf(err, allowed) {
				f.errorf("refresh of another process: %v", err)
			}
		})
	}
	do()
	wg.Wait()
}

// during runs do while another process, if there is one, has just presented the
// token. It may not store what it gets.
func (f *faultCase) during(do func()) {
	if len(f.others) == 0 {
		do()
		return
	}
	_, err := f.others[0].Refresh(f.ctx(), f.key, f.seen, longCall, func(ctx context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
		t, err := f.fn(nil, true)(ctx, r)
		do()
		return t, err
	})
	if !errors.Is(err, tokenclient.ErrReplaced) {
		f.errorf("refresh of another process meanwhile: %v; want ErrReplaced", err)
	}
}

func isOneOf(err error, kinds []error) bool {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// fn presents the token. called, if not nil, is told.
func (f *faultCase) fn(called *bool, arrives bool) refreshFunc {
	return func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
		if called != nil {
			*called = true
		}
		return f.judge.present(r.Token.RefreshToken, r.Announced, arrives)
	}
}

// again does what the caller of a store does: after a failure that may pass it
// tries again. Such a failure is due only if the first that the fault met was a Get,
// before anything was written.
func (f *faultCase) again(do func() (called bool, err error)) error {
	for {
		f.kv.mu.Lock()
		f.kv.met = false
		f.kv.mu.Unlock()
		called, err := do()
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			return err
		}
		f.kv.mu.Lock()
		due := f.kv.met && f.kv.ofRead && !called
		f.kv.mu.Unlock()
		if !due {
			f.errorf("fn called: %t, error %v; the engine came back at once", called, err)
			return err
		}
	}
}

// refresh is again for a refresh of a.
func (f *faultCase) refresh(seen tokenclient.Record, timeout time.Duration, fn func(called *bool) refreshFunc) (r tokenclient.Record, err error) {
	err = f.again(func() (called bool, err error) {
		r, err = f.a.Refresh(f.ctx(), f.key, seen, timeout, fn(&called))
		return called, err
	})
	return r, err
}

// goesOn checks that the newest token is stored, that what is late changes nothing,
// and that processes can still exchange it, which are the last of the checks.
func (f *faultCase) goesOn(seen tokenclient.Record) {
	f.t.Helper()
	for _, when := range []string{"afterwards", "after all that was late"} {
		number, refreshToken := f.judge.newest()
		fresh := shared(f.t, f.kvCheck.kv)
		r, err := fresh.Load(f.ctx(), f.key)
		if err != nil || r.Token.RefreshToken != refreshToken || r.Era != seen.Era {
			f.errorf("%s: %v number %d of the same era: %t, error %v; want number %d", when, r.State, r.Number, r.Era == seen.Era, err, number)
			return
		}
		next, err := fresh.Refresh(f.ctx(), f.key, r, longCall, f.fn(nil, true))
		if err != nil || next.Number != r.Number+1 {
			f.errorf("%s: the next refresh: number %d, error %v; want %d", when, next.Number, err, r.Number+1)
			return
		}
		f.kv.land()
	}
}

// wantEnded checks that nobody is logged in, whatever is late.
func (f *faultCase) wantEnded(state tokenclient.State) {
	f.t.Helper()
	fresh := shared(f.t, f.kvCheck.kv)
	before, err := fresh.Load(f.ctx(), f.key)
	if !errors.Is(err, tokenclient.ErrNoToken) || before.State != state {
		f.errorf("%v, error %v; want %v", before.State, err, state)
	}
	f.kv.land()
	if after, err := fresh.Load(f.ctx(), f.key); !errors.Is(err, tokenclient.ErrNoToken) || after != before {
		f.errorf("what was late made %v of a session that was over, error %v", after.State, err)
	}
}

// A hold is long, so that it does not end on a machine that is busy, unless the
// others must wait for its end because its release was lost.
const (
	longCall  = 10 * time.Second
	shortCall = 50 * time.Millisecond
)
