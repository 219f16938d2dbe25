package turns_test

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

// A wave is attempts that can wait, by when they come and how much time is left for each.
type wave []coming

type coming struct{ at, left time.Duration }

// drawn is the i-th of numbers from 0 to below 1 that fill the space more evenly than
// chance, in each of three dimensions: the pace is tested, and not luck.
func drawn(i, dimension int) float64 {
	step := [3]float64{0.8191725134, 0.6710436067, 0.5497004779}[dimension]
	_, f := math.Modf(0.5 + step*float64(i))
	return f
}

func some(d time.Duration, share float64) time.Duration { return time.Duration(share * float64(d)) }

// expiring is a wave of n tokens that are issued at the same time and live for lifetime or
// a little longer, up to within. Each is to be refreshed in a window before its expiry, as
// sessions do that: a fifth of the lifetime but at most five minutes, and up to a quarter
// of it more or less.
func expiring(n int, lifetime, within time.Duration) wave {
	w := make(wave, n)
	for i := range w {
		expiry := lifetime + some(within, drawn(i, 0))
		window := min(5*time.Minute, lifetime/5)
		soft := expiry - window - window/4 + some(window/2, drawn(i, 1))
		w[i] = coming{soft, expiry - min(10*time.Second, lifetime/20) - soft}
	}
	return w
}

// asked puts off when each comes: its user sends a request so often.
func (w wave) asked(every time.Duration) wave {
	for i, c := range w {
		later := some(every, drawn(i, 2))
		w[i] = coming{c.at + later, c.left - later}
	}
	return w
}

// run has all of w wait in l, and returns how many began in each second from the first to
// the last. It checks that each began in time.
func (w wave) run(t *testing.T, l *lines) (seconds []int) {
	t.Helper()
	slices.SortFunc(w, func(a, b coming) int { return int(a.at - b.at) })
	var mu sync.Mutex
	var all sync.WaitGroup
	first := -1
	began := time.Now()
	for _, c := range w {
		time.Sleep(c.at - time.Since(began))
		all.Add(1)
		l.WhenRoom(here, c.left, func() bool {
			mu.Lock()
			defer mu.Unlock()
			now := time.Since(began)
			if waited, most := now-c.at, max(min(c.left/4, time.Minute), time.Second); waited > most+time.Second {
				t.Errorf("one that had %v waited for %v", c.left, waited)
			}
			second := int(now / time.Second)
			if first < 0 {
				first = second
			}
			for len(seconds) <= second-first {
				seconds = append(seconds, 0)
			}
			seconds[second-first]++
			go func() {
				defer all.Done()
				wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(30*time.Millisecond)), nil)
			}()
			return true
		})
	}
	all.Wait()
	return seconds
}

// spread returns the busiest second and the mean of all.
func spread(seconds []int) (most int, mean float64) {
	sum := 0
	for _, n := range seconds {
		sum += n
	}
	return slices.Max(seconds), float64(sum) / float64(len(seconds))
}

// wantEven fails the test if the busiest second has more than 1.5 times the mean, and more
// than need not be spread out.
func wantEven(t *testing.T, most int, mean float64) {
	t.Helper()
	if float64(most) > max(1.5*mean, 15) {
		t.Errorf("%d in the busiest second, %.1f on the average", most, mean)
	}
}

// TestPace: what comes as a wave leaves at an even rate: the busiest second has at most 1.5
// times the mean. Nobody waits for too long.
func TestPace(t *testing.T) {
	const n = 5_000
	for _, c := range []struct {
		name string
		wave func() wave
	}{
		{"hours that end in the same minute", func() wave { return expiring(n, time.Hour, time.Minute) }},
		{"hours that end at the same instant", func() wave { return expiring(n, time.Hour, 0) }},
		{"hours that end within ten minutes", func() wave { return expiring(4*n, time.Hour, 10*time.Minute) }},
		{"ten minutes", func() wave { return expiring(n, 10*time.Minute, time.Minute) }},
		{"five minutes, at the same instant", func() wave { return expiring(n, 5*time.Minute, 0) }},
		{"few", func() wave { return expiring(n/5, time.Hour, time.Minute) }},
		{"many", func() wave { return expiring(10*n, time.Hour, time.Minute) }},
		{"asked in bursts", func() wave {
			w := expiring(4*n, time.Hour, time.Minute).asked(30 * time.Second)
			for i, c := range w {
				next := c.at.Truncate(time.Second) + time.Second
				w[i] = coming{next, c.left - (next - c.at)}
			}
			return w
		}},
		{"asked by requests", func() wave { return expiring(n, time.Hour, time.Minute).asked(30 * time.Second) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := turns.New[string, int](32)
				defer l.Close()
				w := c.wave()
				seconds := w.run(t, l)
				most, mean := spread(seconds)
				t.Logf("%d: %.0f a second on the average over %d s, %d in the busiest: %.2f times", len(w), mean, len(seconds), most, float64(most)/mean)
				wantEven(t, most, mean)
				wantCount(t, l, 0, 0)
			})
		})
	}
}

// TestPaceOneHurries: one that has less time than the others goes first, and makes nobody
// else hurry.
func TestPaceOneHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](32)
		defer l.Close()
		stop := make(chan struct{})
		var hasty atomic.Int32
		go func() {
			for {
				select {
				case <-time.After(16 * time.Second):
					asked := time.Now()
					l.WhenRoom(here, 4*time.Second, func() bool {
						if d := time.Since(asked); d > 2*time.Second {
							t.Errorf("the one in a hurry waited for %v", d)
						}
						hasty.Add(1)
						return true
					})
				case <-stop:
					return
				}
			}
		}()
		seconds := expiring(5_000, time.Hour, time.Minute).run(t, l)
		close(stop)
		most, mean := spread(seconds)
		t.Logf("%.0f a second on the average over %d s, %d in the busiest: %.2f times", mean, len(seconds), most, float64(most)/mean)
		wantEven(t, most, mean)
		if n := hasty.Load(); n < 200 {
			t.Errorf("the one in a hurry began %d times", n)
		}
	})
}

// TestPaceFew: a few begin at once.
func TestPaceFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](32)
		defer l.Close()
		for range 100 {
			asked, begun := time.Now(), make(chan time.Duration)
			l.WhenRoom(here, time.Hour, func() bool {
				go func() { begun <- time.Since(asked) }()
				return true
			})
			if d := <-begun; d > 10*time.Millisecond {
				t.Errorf("one of a few waited for %v", d)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// TestPaceGivesWay: those who are in line go first, and while the endpoint wants to be left
// alone nothing begins. Those that can wait go on by themselves after that.
func TestPaceGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		var line, begun atomic.Int32
		for who := range 10 {
			go func() {
				err := l.Do(t.Context(), here, who, false, func(tn *turn) {
					tn.Begin()
					time.Sleep(time.Second)
					if line.Add(1) == 10 {
						tn.End(turns.Outcome{Answer: turns.TooMany, RetryAfter: 5 * time.Second})
					}
				})
				wantErr(t, "Do", err, nil)
			}()
		}
		synctest.Wait()
		for range 3 {
			l.WhenRoom(here, 4*time.Second, func() bool {
				if n := line.Load(); n < 10 {
					t.Errorf("begun after %d of the 10 in line", n)
				}
				begun.Add(1)
				go func() { _ = l.Do(t.Context(), here, -1, false, served(10*time.Millisecond)) }()
				return true
			})
		}
		time.Sleep(14 * time.Second)
		if n := begun.Load(); n != 0 {
			t.Errorf("%d begun while the endpoint wanted to be left alone", n)
		}
		wantCount(t, l, 0, 3)
		time.Sleep(2 * time.Second)
		if n := begun.Load(); n != 3 {
			t.Errorf("%d begun in the second after that, want 3", n)
		}
	})
}

// TestPaceNoTurn: what can wait begins only where a turn is free, although its time has
// come.
func TestPaceNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		var begun atomic.Int32
		for range 2 {
			l.WhenRoom(here, time.Hour, func() bool { begun.Add(1); return true })
		}
		time.Sleep(50 * time.Millisecond) // the next one is due in as long again
		wantErr(t, "Do", l.Do(t.Context(), here, 0, false, func(tn *turn) {
			tn.Begin()
			time.Sleep(10 * time.Second)
			if n := begun.Load(); n != 1 {
				t.Errorf("%d begun, want 1", n)
			}
		}), nil)
		time.Sleep(time.Second)
		if n := begun.Load(); n != 2 {
			t.Errorf("%d begun when there is room again, want 2", n)
		}
	})
}

// TestPaceInTime: of those that have a second the last one begins within it.
func TestPaceInTime(t *testing.T) {
	for _, n := range []int{15, 20, 30} {
		synctest.Test(t, func(t *testing.T) {
			l := turns.New[string, int](1)
			defer l.Close()
			// None begins before all are there.
			go func() { wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(time.Millisecond)), nil) }()
			synctest.Wait()
			asked := time.Now()
			var begun atomic.Int32
			for range n {
				l.WhenRoom(here, 4*time.Second, func() bool {
					if d := time.Since(asked); d >= time.Second {
						t.Errorf("one of %d waited for %v", n, d)
					}
					begun.Add(1)
					return true
				})
			}
			time.Sleep(time.Minute)
			if got := int(begun.Load()); got != n {
				t.Errorf("%d of %d began", got, n)
			}
		})
	}
}

// TestPaceOneTurn: those that begin at the same instant are no more than there are turns, however
// many are in a hurry.
func TestPaceOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		go func() { wantErr(t, "Do", l.Do(t.Context(), here, 0, false, served(time.Second)), nil) }()
		synctest.Wait()
		var begun atomic.Int32
		for range 200 {
			l.WhenRoom(here, 4*time.Second, func() bool {
				begun.Add(1)
				go func() { wantErr(t, "Do", l.Do(t.Context(), here, 1, false, served(time.Second)), nil) }()
				return true
			})
		}
		for want := range 5 {
			time.Sleep(time.Second - time.Millisecond)
			if n := int(begun.Load()); n != want {
				t.Errorf("%d begun where %d had a turn", n, want)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		l.Close()
		time.Sleep(time.Second)
	})
}

// TestPaceNotWanted: what is not wanted any more takes nobody's place; and one that began
// and never came to its attempt keeps nobody from it.
func TestPaceNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := turns.New[string, int](1)
		defer l.Close()
		asked := time.Now()
		for range 10_000 {
			l.WhenRoom(here, time.Hour, func() bool { return false })
		}
		var begun []time.Duration
		for range 3 {
			l.WhenRoom(here, time.Hour, func() bool {
				begun = append(begun, time.Since(asked))
				return true
			})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(begun) != 3 || begun[2] > time.Second {
			t.Errorf("begun after %v", begun)
		}
		wantCount(t, l, 0, 0)
	})
}
