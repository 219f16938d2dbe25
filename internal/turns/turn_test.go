package turns_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

// TestTurnLost: whoever is not ready when a turn has waited for a second loses it to the
// next in line, and is the first to get another one, which waits for longer.
func TestTurnLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		at := map[int]time.Duration{}
		began := time.Now()
		calls := 0
		var wg sync.WaitGroup
		for who := range 3 {
			wg.Go(func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					if who == 0 {
						if calls++; calls == 1 {
							time.Sleep(5 * time.Second) // somebody else has it by then
						} else {
							time.Sleep(1900 * time.Millisecond)
						}
					}
					if !tn.Begin() {
						return
					}
					at[who] = time.Since(began)
					time.Sleep(15 * time.Second)
					tn.End(turns.Outcome{Answer: turns.Served})
				})
				wantErr(t, "Do", err, nil)
			})
			synctest.Wait()
		}
		wg.Wait()
		want := map[int]time.Duration{1: time.Second, 0: 17900 * time.Millisecond, 2: 32900 * time.Millisecond}
		for who, d := range want {
			if at[who] != d {
				t.Errorf("%d began after %v, want %v", who, at[who], d)
			}
		}
		if calls != 2 {
			t.Errorf("%d calls for one that lost a turn, want 2", calls)
		}
	})
}

// TestTurnTakesAnother: a turn that was lost is no loss if another one is free.
func TestTurnTakesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		defer l.Hurry(here, -1)() // the line is not forgotten
		calls := 0
		wantErr(t, "Do", l.Do(t.Context(), here, 0, false, func(tn *turn) {
			calls++
			time.Sleep(time.Hour)
			wantCount(t, l, 0, 0)
			if !tn.Begin() {
				t.Error("a free turn was not taken")
			}
			wantCount(t, l, 1, 0)
			tn.End(turns.Outcome{Answer: turns.Served})
			wantCount(t, l, 0, 0)
			tn.End(turns.Outcome{Answer: turns.TooMany, RetryAfter: time.Hour}) // has no meaning any more
			wantCount(t, l, 0, 0)
		}), nil)
		after := time.Now()
		wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(0)), nil)
		if d := time.Since(after); d != 0 {
			t.Errorf("the next one after %v", d)
		}
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestTurnWithoutAttempt: what was not begun says nothing about the endpoint.
func TestTurnWithoutAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](2)
		defer l.Close()
		defer l.Hurry(here, -1)() // the line is not forgotten
		for _, o := range []turns.Outcome{{Answer: turns.Down}, {Answer: turns.TooMany, RetryAfter: time.Hour}} {
			wantErr(t, "Do", l.Do(t.Context(), here, 0, false, func(tn *turn) { tn.End(o) }), nil)
		}
		began := time.Now()
		var wg sync.WaitGroup
		for who := range 2 {
			wg.Go(func() { wantErr(t, "Do", l.Do(t.Context(), here, who, false, served(time.Second)), nil) })
		}
		wg.Wait()
		if d := time.Since(began); d != time.Second {
			t.Errorf("two attempts took %v", d)
		}
	})
}

// TestTurnSlow: preparations that take longer than a turn waits make attempts slow, and
// do not stop them.
func TestTurnSlow(t *testing.T) {
	for _, takes := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond, 5 * time.Second, 2 * time.Minute} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const waiters, most = 300, 32
				l := turns.New[string, int](most)
				defer l.Close()
				began := time.Now()
				var wg sync.WaitGroup
				for who := range waiters {
					wg.Go(func() {
						err := l.Do(t.Context(), here, who, false, func(tn *turn) {
							time.Sleep(takes)
							served(50 * time.Millisecond)(tn)
						})
						wantErr(t, "Do", err, nil)
					})
				}
				wg.Wait()
				// Each has its attempt after a turn or two that were lost, most at a time.
				if took, limit := time.Since(began), 4*time.Duration(waiters/most+1)*(takes+time.Second); took > limit {
					t.Errorf("it took %v, want at most %v", took, limit)
				}
				wantCount(t, l, 0, 0)
			})
		})
	}
}

// TestTurnPanic: a turn ends with its owner.
func TestTurnPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		func() {
			defer func() { _ = recover() }()
			_ = l.Do(t.Context(), here, 0, false, func(tn *turn) {
				tn.Begin()
				panic("of the attempt")
			})
		}()
		wantErr(t, "Do", l.Do(t.Context(), here, 1, false, served(0)), nil)
	})
}

// attempts makes n attempts at the same time, and returns when they began. Each takes a
// millisecond, and then comes to what outcome says.
func attempts(t *testing.T, l *lines, n int, outcome func() turns.Outcome) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var at []time.Duration
	began := time.Now()
	var wg sync.WaitGroup
	for who := range n {
		wg.Go(func() {
			err := l.Do(t.Context(), here, who, false, func(tn *turn) {
				if !tn.Begin() {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(began).Truncate(100*time.Millisecond))
				time.Sleep(time.Millisecond)
				tn.End(outcome())
			})
			wantErr(t, "Do", err, nil)
		})
	}
	wg.Wait()
	slices.Sort(at)
	return at
}

// TestTooMany: an endpoint that refuses for rate is left alone for a while that grows,
// whatever it asks for, and is then asked by one. When it serves again all go on.
func TestTooMany(t *testing.T) {
	for _, c := range []struct {
		name       string
		retryAfter time.Duration
		lasts      time.Duration
		want       []time.Duration // in seconds, of those that are refused
	}{
		{"says how long", time.Hour, 3 * time.Minute, []time.Duration{0, 5, 15, 35, 75, 135}},
		{"does not say", 0, time.Minute, []time.Duration{0, 1, 3, 7, 15, 31}},
		{"short", 3 * time.Second, 20 * time.Second, []time.Duration{0, 3, 6, 10, 18}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := turns.New[string, int](1)
				defer l.Close()
				open := time.Now().Add(c.lasts)
				var refused int
				at := attempts(t, l, 100, func() turns.Outcome {
					if time.Now().Before(open) {
						refused++
						return turns.Outcome{Answer: turns.TooMany, RetryAfter: c.retryAfter}
					}
					return turns.Outcome{Answer: turns.Served}
				})
				if refused != len(c.want) {
					t.Errorf("%d were refused, want %d", refused, len(c.want))
				}
				for i, want := range c.want {
					if at[i] != want*time.Second {
						t.Errorf("refused at %v, want %v", at[:refused], c.want)
						break
					}
				}
				if again, last := at[refused], at[len(at)-1]; last-again > time.Second {
					t.Errorf("the others went on from %v to %v", again, last)
				}
			})
		})
	}
}

// TestTooManyUnderWay: attempts under way that are refused as well say nothing new; and a
// refusal of one waiter stops the others for seconds only.
func TestTooManyUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 32
		l := turns.New[string, int](most)
		defer l.Close()
		began := time.Now()
		var wg sync.WaitGroup
		for who := range most {
			wg.Go(func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					tn.Begin()
					time.Sleep(time.Duration(1+who) * time.Millisecond)
					tn.End(turns.Outcome{RetryAfter: time.Hour}) // which is TooMany
				})
				wantErr(t, "Do", err, nil)
			})
		}
		wg.Wait()
		wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(0)), nil)
		if d := time.Since(began); d != 5*time.Second+time.Millisecond {
			t.Errorf("the next one after %v, want 5s", d)
		}
		elsewhere := time.Now()
		wantErr(t, "elsewhere", l.Do(t.Context(), there, 0, false, served(0)), nil)
		if d := time.Since(elsewhere); d != 0 {
			t.Errorf("in another line it took %v", d)
		}
	})
}

// TestTooManyOneByOne: after a refusal one goes, and with each success one more at a time.
func TestTooManyOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](4)
		defer l.Close()
		wantErr(t, "Do", l.Do(t.Context(), here, 0, false, func(tn *turn) {
			tn.Begin()
			tn.End(turns.Outcome{Answer: turns.TooMany})
		}), nil)
		var wg sync.WaitGroup
		for who := range 20 {
			wg.Go(func() { wantErr(t, "Do", l.Do(t.Context(), here, who, false, served(time.Second)), nil) })
		}
		time.Sleep(1500 * time.Millisecond)
		for _, want := range []int{1, 2, 4, 4, 4} {
			wait := 20 - want
			if n, _ := l.Count(); n != want {
				t.Errorf("%d at a time, want %d (%d wait)", n, want, wait)
			}
			time.Sleep(time.Second)
		}
		wg.Wait()
	})
}

// TestDown: the more attempts fail because an endpoint is down, the fewer it gets at a
// time; when it is back all get through.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters, outage, takes = 500, 10 * time.Second, 20 * time.Millisecond
		l := turns.New[string, int](32)
		defer l.Close()
		back := time.Now().Add(outage)
		var mu sync.Mutex
		failed := 0
		var wg sync.WaitGroup
		for who := range waiters {
			wg.Go(func() {
				for ok := false; !ok; time.Sleep(time.Second) {
					err := l.Do(t.Context(), here, who, false, func(tn *turn) {
						tn.Begin()
						time.Sleep(takes)
						mu.Lock()
						defer mu.Unlock()
						if time.Now().Before(back) {
							failed++
							tn.End(turns.Outcome{Answer: turns.Down})
						} else {
							ok = true
							tn.End(turns.Outcome{Answer: turns.Served})
						}
					})
					wantErr(t, "Do", err, nil)
				}
			})
		}
		wg.Wait()
		// 32, then 16 and so on, and then one at a time.
		if limit := int(outage/takes) + 64; failed > limit {
			t.Errorf("%d attempts failed in %v, want at most %d", failed, outage, limit)
		}
		if took := time.Since(back); took > 10*time.Second {
			t.Errorf("it took %v to serve all after the outage", took)
		}
	})
}
