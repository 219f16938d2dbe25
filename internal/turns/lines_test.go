package turns_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

type (
	lines = turns.Lines[string, int]
	turn  = turns.Turn[string, int]
)

const (
	here  = "https://one.example.com"
	there = "https://two.example.com"
)

// served is an attempt of an endpoint that works, and takes so long.
func served(took time.Duration) func(*turn) {
	return func(t *turn) {
		if t.Begin() {
			time.Sleep(took)
			t.End(turns.Outcome{Answer: turns.Served})
		}
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func wantCount(t *testing.T, l *lines, turns, waiting int) {
	t.Helper()
	if a, b := l.Count(); a != turns || b != waiting {
		t.Errorf("%d turns and %d waiting, want %d and %d", a, b, turns, waiting)
	}
}

// TestCount: turns and waiters are those of all lines together.
func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		var wg sync.WaitGroup
		for _, name := range []string{here, there} {
			for who := range 3 {
				wg.Go(func() { wantErr(t, "Do", l.Do(t.Context(), name, who, false, served(time.Second)), nil) })
			}
		}
		synctest.Wait()
		wantCount(t, l, 2, 4)
		wg.Wait()
		wantCount(t, l, 0, 0)
	})
}

// TestLine: no more turns than may be are taken at the same time, in the order in which
// all came. Who cannot wait leaves, and another line has turns of its own.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters, most, took = 100, 4, 10 * time.Second
		l := turns.New[string, int](most)
		defer l.Close()
		var mu sync.Mutex
		var order []int
		now, peak := 0, 0
		began := time.Now()
		var wg sync.WaitGroup
		for who := range waiters {
			wg.Go(func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					mu.Lock()
					order = append(order, who)
					now++
					peak = max(peak, now)
					mu.Unlock()
					tn.Begin()
					time.Sleep(took)
					mu.Lock()
					now-- // before End, which gives the turn to the next
					mu.Unlock()
					tn.End(turns.Outcome{Answer: turns.Served})
				})
				wantErr(t, "Do", err, nil)
			})
			synctest.Wait()
		}
		wantCount(t, l, most, waiters-most)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := l.Do(ctx, here, waiters, false, func(*turn) { t.Error("a turn after all") })
		wantErr(t, "who cannot wait", err, context.DeadlineExceeded)
		wantCount(t, l, most, waiters-most)
		elsewhere := time.Now()
		wantErr(t, "elsewhere", l.Do(t.Context(), there, 0, false, served(0)), nil)
		if d := time.Since(elsewhere); d != 0 {
			t.Errorf("in another line it took %v", d)
		}
		wg.Wait()
		if peak != most {
			t.Errorf("%d at the same time, want %d", peak, most)
		}
		if d := time.Since(began); d != waiters/most*took {
			t.Errorf("it took %v, want %v", d, waiters/most*took)
		}
		// Those that begin at the same instant have no order among each other.
		for i := 0; i < waiters; i += most {
			slices.Sort(order[i : i+most])
		}
		if !slices.IsSorted(order) {
			t.Errorf("not in the order in which they came: %v", order)
		}
		wantCount(t, l, 0, 0)
	})
}

// TestLineAgain: who has had a turn just now and needs another one goes in front.
func TestLineAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		var order []int
		var wg sync.WaitGroup
		for i, who := range []int{0, 1, 2, 3} {
			wg.Go(func() {
				err := l.Do(t.Context(), here, who, i == 3, func(tn *turn) {
					order = append(order, who)
					served(time.Second)(tn)
				})
				wantErr(t, "Do", err, nil)
			})
			synctest.Wait()
		}
		wg.Wait()
		if want := []int{0, 3, 1, 2}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

// TestLineLeft: whose context ends at the very instant at which the turn comes does not
// keep it.
func TestLineLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		var wg sync.WaitGroup
		for who := range 100 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(who)*time.Second)
				defer cancel()
				_ = l.Do(ctx, here, who, false, served(time.Second))
			})
		}
		wg.Wait()
		wantCount(t, l, 0, 0)
		wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(0)), nil)
	})
}

// TestHurry: attempts that wait for somebody else's in the same line do not wait for ever
// for a turn that they have themselves.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, service = 10, -1
		l := turns.New[string, int](2)
		defer l.Close()
		began := time.Now()
		var wg sync.WaitGroup
		for who := range all {
			wg.Go(func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					tn.Begin()
					defer l.Hurry(here, service)()
					wantErr(t, "the service", l.Do(t.Context(), here, service, false, served(time.Second)), nil)
					tn.End(turns.Outcome{Answer: turns.Served})
				})
				wantErr(t, "Do", err, nil)
			})
		}
		wg.Wait()
		if d := time.Since(began); d > all*time.Second {
			t.Errorf("it took %v, want at most %v", d, all*time.Second)
		}
		wantCount(t, l, 0, 0)
	})
}

// TestHurryInLine: who is in line already gets a turn as soon as there is a hurry, and has
// to wait as all others when that is over.
func TestHurryInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		at := map[int]time.Duration{}
		began := time.Now()
		var wg sync.WaitGroup
		do := func(who int) {
			wg.Go(func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					at[who] = time.Since(began)
					served(10 * time.Second)(tn)
				})
				wantErr(t, "Do", err, nil)
			})
			synctest.Wait()
		}
		do(0)
		do(1)
		do(2)
		time.Sleep(time.Second)
		done, other := l.Hurry(here, 2), l.Hurry(here, 2)
		time.Sleep(time.Second)
		done()
		do(2) // still for the other
		other()
		do(3)
		wg.Wait()
		want := map[int]time.Duration{0: 0, 2: 2 * time.Second, 1: 12 * time.Second, 3: 22 * time.Second}
		for who, d := range want {
			if at[who] != d {
				t.Errorf("%d after %v, want %v", who, at[who], d)
			}
		}
	})
}

// TestClose: nobody waits any more, and nothing begins that was not begun.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		began := make(chan bool)
		for who := range 3 {
			go func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					time.Sleep(time.Hour) // long after the turn went to somebody else
					began <- tn.Begin()
				})
				if who == 0 {
					wantErr(t, "who has a turn", err, nil)
				} else {
					wantErr(t, "who waits", err, turns.ErrClosed)
				}
			}()
			synctest.Wait()
			if who == 0 {
				l.WhenRoom(here, time.Hour, func() bool { t.Error("begun after Close"); return false })
			}
		}
		wantCount(t, l, 1, 3)
		l.Close()
		wantCount(t, l, 1, 0)
		wantErr(t, "Do after Close", l.Do(t.Context(), here, 0, false, served(0)), turns.ErrClosed)
		l.WhenRoom(there, time.Hour, func() bool { t.Error("begun after Close"); return false })
		if !<-began {
			t.Error("a turn that was taken when Close came was of no use")
		}
		l.Close()
		synctest.Wait()
		wantCount(t, l, 0, 0)
	})
}

// endpoint is one whose memory can be watched.
type endpoint [64]byte

// gone reports whether the garbage collector takes what p points to.
func gone[T any](p weak.Pointer[T]) bool {
	for range 100 {
		runtime.GC()
		if p.Value() == nil {
			return true
		}
	}
	return false
}

// TestLinesForgotten: a line that nobody is in takes no memory.
func TestLinesForgotten(t *testing.T) {
	l := turns.New[*endpoint, int](1)
	defer l.Close()
	used := func() weak.Pointer[endpoint] {
		e := new(endpoint)
		l.Hurry(e, 0)()
		_ = l.Do(t.Context(), e, 0, false, func(tn *turns.Turn[*endpoint, int]) {
			tn.Begin()
			tn.End(turns.Outcome{Answer: turns.Down})
		})
		started := make(chan struct{})
		l.WhenRoom(e, 0, func() bool { close(started); return false })
		<-started
		return weak.Make(e)
	}()
	if !gone(used) {
		t.Error("an endpoint that nobody uses is remembered")
	}
}

// TestCloseTimers: Close leaves no timer, which would keep the lines.
func TestCloseTimers(t *testing.T) {
	closed := func() weak.Pointer[turns.Lines[*endpoint, int]] {
		l, e := turns.New[*endpoint, int](1), new(endpoint)
		_ = l.Do(t.Context(), e, 0, false, func(tn *turns.Turn[*endpoint, int]) {
			tn.Begin()
			tn.End(turns.Outcome{Answer: turns.TooMany, RetryAfter: time.Hour}) // nothing for seconds
		})
		for range 100 {
			l.WhenRoom(e, time.Hour, func() bool { return true })
			l.WhenRoom(new(endpoint), time.Hour, func() bool { return true })
		}
		l.Close()
		return weak.Make(l)
	}()
	if !gone(closed) {
		t.Error("something is left after Close")
	}
}

// TestLinesConcurrent: whatever many do at the same time, in the end nobody waits, and no
// turn is lost.
func TestLinesConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 3
		l := turns.New[string, int](most)
		var now, done, early atomic.Int32
		var wg sync.WaitGroup
		for who := range 200 {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(who)))
				sleep := func(d time.Duration) { time.Sleep(time.Duration(random.Int64N(int64(d) + 1))) }
				for range 20 {
					sleep(10 * time.Second)
					at := here
					if random.IntN(4) == 0 {
						at = there
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(60))*time.Second)
					switch random.IntN(4) {
					case 0:
						wg.Add(1)
						l.WhenRoom(at, time.Duration(random.IntN(100))*time.Second, func() bool {
							defer wg.Done()
							early.Add(1)
							return who%2 == 0
						})
					default:
						_ = l.Do(ctx, at, who, random.IntN(5) == 0, func(tn *turn) {
							sleep(1200 * time.Millisecond)
							if !tn.Begin() {
								return
							}
							if n := now.Add(1); n > 2*most {
								t.Errorf("%d at the same time", n)
							}
							sleep(500 * time.Millisecond)
							now.Add(-1)
							done.Add(1)
							switch random.IntN(10) {
							case 0:
								tn.End(turns.Outcome{Answer: turns.TooMany, RetryAfter: time.Duration(random.IntN(3)) * time.Second})
							case 1:
								tn.End(turns.Outcome{Answer: turns.Down})
							default:
								tn.End(turns.Outcome{Answer: turns.Served})
							}
						})
					}
					cancel()
				}
			})
		}
		wg.Wait()
		wantCount(t, l, 0, 0)
		t.Logf("%d attempts, %d that could wait", done.Load(), early.Load())
		for range 2 * most { // all turns are there
			wg.Go(func() { wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(time.Second)), nil) })
		}
		wg.Wait()
		l.Close()
	})
}
