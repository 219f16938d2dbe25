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

// A fault is what happens to one operation between a Shared and the engine.
type fault int

const (
	notDone    fault = iota // an error, and nothing was done
	replyLost               // an error, though it was done
	down                    // notDone for this one and the next two
	slow                    // done, and answered after most of the margin
	doneTwice               // a packet came twice; answered as the first one
	retried                 // done again after a lost reply; answered as the second one
	lateByOne               // an error, and done before the next operation
	lateByTwo               // an error, and done before the one after that
	lateForAll              // an error, and done when all is over
	faults                  // how many there are
)

var faultNames = [faults]string{
	"not done", "reply lost", "engine down", "slow", "done twice", "retried by the engine's client", "late by one", "late by two", "late for all",
}

// ofReads says whether a Get can have the fault; the rest are of writes.
func (f fault) ofReads() bool { return f <= slow }

var errFault = errors.New("storetest: the engine cannot be reached")

// A faultyKV is the way of one process to the engine, with a fault in it.
type faultyKV struct {
	store.KV
	fault fault
	at    int    // operation that has it, from 1
	then  func() // what happens right after it; nil: nothing

	mu     sync.Mutex
	n      int
	met    bool // by an operation of this call of the store
	ofRead bool // the first that met it was a Get
	late   func()
	lateAt int // operation before which late is done
}

// next counts an operation and returns its fault, or false if it has none.
func (k *faultyKV) next(read bool) (fault, bool) {
	k.mu.Lock()
	k.n++
	n := k.n
	due := k.late
	if due != nil && n >= k.lateAt {
		k.late = nil
	} else {
		due = nil
	}
	hit := n == k.at && (k.fault.ofReads() || !read) || k.fault == down && n > k.at && n < k.at+3
	if hit && !k.met {
		k.met, k.ofRead = true, read
	}
	k.mu.Unlock()
	if due != nil {
		due()
	}
	return k.fault, hit
}

func (k *faultyKV) Get(ctx context.Context, key string) ([]byte, error) {
	f, hit := k.next(true)
	if !hit {
		return k.KV.Get(ctx, key)
	}
	if f == slow {
		defer time.Sleep(slowFor)
		return k.KV.Get(ctx, key)
	}
	return nil, errFault
}

// slowFor is more than half of the margin, which is what a claim may take.
const slowFor = 600 * time.Millisecond

func (k *faultyKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	f, hit := k.next(false)
	do := func() (bool, error) { return k.KV.CompareAndSwap(ctx, key, old, new) }
	if !hit {
		return do()
	}
	if k.then != nil {
		defer k.then()
	}
	late := func(by int) (bool, error) {
		ctx := context.WithoutCancel(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.lateAt = k.n + by
		k.late = func() { _, _ = k.KV.CompareAndSwap(ctx, key, old, new) }
		return false, errFault
	}
	switch f {
	case replyLost:
		_, _ = do()
	case slow:
		defer time.Sleep(slowFor)
		return do()
	case doneTwice:
		swapped, err := do()
		_, _ = do()
		return swapped, err
	case retried:
		_, _ = do()
		return do()
	case lateByOne:
		return late(1)
	case lateByTwo:
		return late(2)
	case lateForAll:
		return late(1 << 30)
	}
	return false, errFault
}

// land does what is late.
func (k *faultyKV) land() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.late != nil {
		k.late()
		k.late = nil
	}
}

// A judge is a server that exchanges each refresh token once, and refuses all that
// come from a login of which a token was presented again.
type judge struct {
	mu          sync.Mutex
	issued      int
	current     string // the refresh token that is good; empty: none any more
	sent        map[string]int
	announced   map[string]int // the most that a presentation knew of
	unannounced int            // presentations that no record announced
	reused      int
}

func newJudge() (*judge, *tokenclient.Token) {
	j := &judge{sent: make(map[string]int), announced: make(map[string]int)}
	return j, j.issue()
}

func (j *judge) issue() *tokenclient.Token {
	j.issued++
	j.current = fmt.Sprintf("refresh-%d", j.issued)
	return &tokenclient.Token{AccessToken: fmt.Sprintf("access-%d", j.issued), RefreshToken: j.current}
}

// present counts a presentation of the token in r. arrives says that the server
// gets it.
func (j *judge) present(refreshToken string, announced int, arrives bool) (*tokenclient.Token, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sent[refreshToken]++
	j.announced[refreshToken] = max(announced, j.announced[refreshToken])
	if j.sent[refreshToken] > j.announced[refreshToken] {
		j.unannounced++
	}
	if !arrives {
		return nil, errCut
	}
	if refreshToken != j.current {
		if j.sent[refreshToken] > 1 {
			j.reused++
			j.current = ""
		}
		return nil, &tokenclient.TokenError{StatusCode: 400, Code: "invalid_grant", Err: tokenclient.ErrRefused}
	}
	return j.issue(), nil
}

// newest is the number of the last token that was issued.
func (j *judge) newest() (number int, refreshToken string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.issued, j.current
}

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

// faultRows are about what a Shared makes of an engine whose answers are lost.
var faultRows = []kvRow{
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
	{"faults in a save of a late pair", "the pair exists nowhere else, and its predecessor is spent", true, faultsIn(1, func(f *faultCase) {
		// The answer comes when the call has been given up.
		var late *tokenclient.Token
		_, err := shared(f.t, f.kvCheck.kv).Refresh(f.ctx(), f.key, f.seen, shortCall, func(ctx context.Context, r tokenclient.Record) (_ *tokenclient.Token, err error) {
			if late, err = f.fn(nil, true)(ctx, r); err != nil {
				f.errorf("the server: %v", err)
			}
			return nil, errCut
		})
		if !errors.Is(err, errCut) {
			f.errorf("the call that was given up: %v", err)
			return
		}
		var wg sync.WaitGroup
		for _, s := range f.others {
			wg.Go(func() { // what it has does not belong into the place of the pair
				_, err := s.Save(f.ctx(), f.key, f.seen, &tokenclient.Token{AccessToken: "renewed", RefreshToken: f.seen.Token.RefreshToken})
				if !isOneOf(err, []error{tokenclient.ErrAnnounced, tokenclient.ErrOvertaken}) {
					f.errorf("the save of another process: %v; want ErrAnnounced or ErrOvertaken", err)
				}
			})
		}
		var r tokenclient.Record
		err = f.again(func() (_ bool, err error) {
			r, err = f.a.Save(f.ctx(), f.key, f.seen, late)
			return false, err
		})
		if err != nil || r.Number != 2 {
			f.errorf("Save: number %d, error %v; want 2", r.Number, err)
		}
		wg.Wait()
		f.goesOn(r)
	})},
	{"faults in a login", "a login that is done twice undoes a later logout", true, faultsIn(1, func(f *faultCase) {
		next, t := newJudge()
		t.RefreshToken = "refresh-of-the-next-login"
		next.current = t.RefreshToken
		var now tokenclient.Record
		f.during(func() {
			err := f.again(func() (_ bool, err error) {
				now, _, err = f.a.Replace(f.ctx(), f.key, t)
				return false, err
			})
			if err != nil || now.Number != 1 || now.Era == f.seen.Era {
				f.errorf("Replace: number %d, error %v", now.Number, err)
			}
		})
		if f.judge.unannounced+f.judge.reused > 0 {
			f.errorf("the old token was presented again")
		}
		f.judge = next
		f.goesOn(now)
	})},
	{"faults in a logout", "the session of a user who logged out would be back", true, faultsIn(1, func(f *faultCase) {
		f.during(func() {
			var now tokenclient.Record
			err := f.again(func() (_ bool, err error) {
				now, _, err = f.a.Replace(f.ctx(), f.key, nil)
				return false, err
			})
			if err != nil || now.State != tokenclient.LoggedOut {
				f.errorf("Replace: %v, error %v", now.State, err)
			}
		})
		f.wantEnded(tokenclient.LoggedOut)
	})},
	{"a logout after a login whose reply is lost", "a login that is repeated brings the session back", true, func(c *kvCheck) {
		for kind := range faults {
			if kind == down || kind == slow || kind == doneTwice || kind == retried {
				continue // its client is not told of a failure, or of more than one
			}
			tries := 0
			c.fairly(func(c *kvCheck) (surely bool) {
				tries++
				key := fmt.Sprintf("key %d, try %d", kind, tries)
				return newFaultCase(c, faultNames[kind], key, &faultyKV{fault: kind, at: 2}, 0).try(func(f *faultCase) {
					f.kv.then = func() {
						if _, _, err := shared(f.t, c.kv).Replace(f.ctx(), f.key, nil); err != nil {
							f.errorf("logout: %v", err)
						}
					}
					_, t := newJudge()
					if now, _, err := f.a.Replace(f.ctx(), f.key, t); err != nil || now.State != tokenclient.LoggedOut {
						f.errorf("the login: %v, error %v; want that of the logout, which was later", now.State, err)
					}
					f.wantEnded(tokenclient.LoggedOut)
				})
			})
		}
	}},
}
