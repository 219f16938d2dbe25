package limit_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

func TestStorm(t *testing.T) {
	const (
		burst    = 3
		interval = 30 * time.Second
		longest  = time.Hour
	)
	// What becomes of a replay: it is refused, or it is accepted, and its request had asked
	// for the refresh or had not.
	const (
		refused = iota
		helped
		elsewhere
	)
	// A step is some time later, a refusal of the next generation, and a replay.
	type step struct {
		after   time.Duration
		allowed bool
		replay  int
	}
	repeat := func(n int, s step) []step { return slices.Repeat([]step{s}, n) }
	join := slices.Concat[[]step]
	bad := repeat(burst, step{0, true, refused})
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"burst, then nothing", join(bad, repeat(10, step{0, false, refused}))},
		{"burst of others' successes is one too", join(repeat(burst, step{0, true, elsewhere}), repeat(10, step{0, false, elsewhere}))},
		{"good ones cost nothing", join(repeat(1000, step{0, true, helped}), bad, repeat(3, step{0, false, refused}))},
		{"a good one gives back no more than it took", join(repeat(burst-1, step{0, true, refused}), repeat(100, step{0, true, helped}),
			[]step{{0, true, refused}}, repeat(3, step{0, false, refused}))},
		{"every other one is good", join([]step{{0, true, helped}, {0, true, refused}, {0, true, helped}, {0, true, refused}, {0, true, helped}, {0, true, refused}},
			repeat(3, step{0, false, refused}))},
		{"one more for each interval", join(bad, []step{
			{interval, true, refused}, {interval, false, refused}, {interval, true, refused},
			{2 * interval, false, refused}, {2 * interval, true, refused},
		})},
		{"others' successes do not shorten the interval", join(repeat(burst+3, step{longest, true, refused}), []step{
			{longest, true, elsewhere}, {interval, false, refused}, {4 * interval, false, refused}, {4 * interval, true, refused},
		})},
		{"at most an hour", join(bad, repeat(20, step{longest, true, refused}), []step{{longest / 2, false, refused}, {longest / 2, true, refused}})},
		{"others' successes as slow as the interval", repeat(1000, step{interval, true, elsewhere})},
		{"a good one ends the storm", join(bad, repeat(20, step{longest, true, refused}),
			[]step{{longest, true, helped}}, repeat(burst, step{interval, true, elsewhere}))},
		{"the clock is set back", join(bad, []step{{-24 * time.Hour, false, refused}, {interval, true, refused}})},
		{"the clock is set forward", join(bad, []step{{1000 * time.Hour, true, refused}, {0, false, refused}})},
		{"a year of rest", join(repeat(burst, step{0, true, elsewhere}), []step{{365 * 24 * time.Hour, true, elsewhere}},
			repeat(burst-1, step{0, true, elsewhere}), repeat(3, step{0, false, elsewhere}))},
		{"part of an interval counts for the next", join(repeat(burst, step{0, true, elsewhere}), []step{
			{interval + interval/2, true, elsewhere}, {interval/2 - 1, false, elsewhere}, {1, true, elsewhere},
		})},
		{"the interval begins with the burst", join([]step{{0, true, elsewhere}, {interval - 1, true, elsewhere}, {1, true, elsewhere}, {0, true, elsewhere}},
			repeat(3, step{interval / 4, false, elsewhere}), []step{{interval / 4, true, elsewhere}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s limit.Storm
			now, generation := begin, uint64(1)
			shut := false
			for i, step := range tc.steps {
				now = now.Add(step.after)
				ok, begins := s.Allow(generation, now)
				if ok != step.allowed {
					t.Fatalf("step %d: allowed %v, want %v", i, ok, step.allowed)
				}
				if begins != (!ok && !shut) {
					t.Fatalf("step %d: begins %v", i, begins)
				}
				if shut = !ok; s.Shut(now) != shut {
					t.Fatalf("step %d: shut %v, want %v", i, !shut, shut)
				}
				if shut {
					if next := s.Next(); !next.After(now) || next.Sub(now) > longest || s.Shut(next) || !s.Shut(next.Add(-1)) {
						t.Fatalf("step %d: not allowed before %v, and it is %v", i, next, now)
					}
					continue
				}
				for range 3 { // those who were refused with it too
					if ok, _ := s.Allow(generation, now); !ok {
						t.Fatalf("step %d: the second who was refused with the same token is sent away", i)
					}
				}
				generation++
				asked := generation - 1
				if step.replay == elsewhere {
					asked = 0
				}
				for range 3 {
					s.Replayed(generation, step.replay == refused, asked)
				}
			}
		})
	}
}

// stormRun is a session whose tokens are refused at random times.
type stormRun struct {
	random     *rand.Rand
	storm      limit.Storm
	now        time.Time // what the clock says
	generation uint64
	granted    uint64
	grants     []grant
	refused    int // per cent of the replays
}

// A grant is a refresh of a generation that was refused.
type grant struct {
	at         time.Time
	generation uint64
	helped     bool // a request that had asked for it was accepted
}

func newStormRun(seed uint64, refused int) *stormRun {
	return &stormRun{random: rand.New(rand.NewPCG(seed, 3)), now: begin, generation: 1, refused: refused}
}

// step is a refusal some time after the last one. It reports whether the token may be
// refreshed, in which case it mostly is and the request sent again.
func (r *stormRun) step() (ok bool) {
	longest := 2 * time.Hour
	if r.random.IntN(2) == 0 {
		longest = time.Minute
	}
	r.now = r.now.Add(anyDuration(r.random, longest))
	ok, _ = r.storm.Allow(r.generation, r.now)
	switch {
	case !ok:
	case r.generation > r.granted:
		r.granted = r.generation
		r.grants = append(r.grants, grant{at: r.now, generation: r.generation})
		fallthrough
	default:
		if r.random.IntN(5) > 0 { // else the refresh failed
			r.generation++
			asked := r.generation - 1
			if r.random.IntN(3) == 0 {
				asked = 0
			}
			r.replayed(r.generation, r.random.IntN(100) < r.refused, asked)
		}
	}
	return ok
}

// replayed is the end of a replay with generation, whose request had asked for the refresh
// of asked.
func (r *stormRun) replayed(generation uint64, refused bool, asked uint64) {
	r.storm.Replayed(generation, refused, asked)
	if i := slices.IndexFunc(r.grants, func(g grant) bool { return g.generation == asked }); i >= 0 && !refused {
		r.grants[i].helped = true
	}
}

// vain are the times of the refreshes that helped nobody.
func (r *stormRun) vain() (list []time.Time) {
	for _, g := range r.grants {
		if !g.helped {
			list = append(list, g.at)
		}
	}
	return list
}

// TestStormBound: however refusals come, there are never more refreshes in vain than
// 3 + t/30s in any time t, also if requests come home late.
func TestStormBound(t *testing.T) {
	for seed := range uint64(1000) {
		r := newStormRun(seed, []int{0, 20, 50, 90, 100}[seed%5])
		for range 400 {
			r.step()
			if r.random.IntN(3) == 0 { // somebody who was slow
				old := r.generation - min(r.generation, r.random.Uint64N(6))
				r.replayed(old, r.random.IntN(2) == 0, r.random.Uint64N(2)*(old-min(old, 1)))
			}
		}
		if few := tooMany(r.vain(), 3, 30*time.Second); few != nil {
			t.Fatalf("seed %d: %d refreshes in %v", seed, len(few), few[len(few)-1].Sub(few[0]))
		}
	}
}

// TestStormBoundAllRefused: if each new token is refused, too, there are never more than
// 9 + t/1h.
func TestStormBoundAllRefused(t *testing.T) {
	for seed := range uint64(200) {
		r := newStormRun(seed, 100)
		for range 1000 {
			r.step()
		}
		if few := tooMany(r.vain(), 9, time.Hour); few != nil {
			t.Fatalf("seed %d: %d refreshes in %v", seed, len(few), few[len(few)-1].Sub(few[0]))
		}
	}
	// As many as that there are if it is asked all the time.
	var s limit.Storm
	generation := uint64(1)
	for now := begin; now.Before(begin.Add(12 * time.Hour)); now = now.Add(time.Second) {
		if ok, _ := s.Allow(generation, now); ok {
			generation++
			s.Replayed(generation, true, generation-1)
		}
	}
	if grants := generation - 1; grants < 20 || grants > 9+12 {
		t.Errorf("%d refreshes in 12 hours of asking all the time", grants)
	}
}

// TestStormBoundClockSet: while a clock is not set, the bound holds as if it never had
// been, and nobody is sent away for longer than an hour after the first call.
func TestStormBoundClockSet(t *testing.T) {
	for seed := range uint64(1000) {
		r := newStormRun(seed, []int{0, 50, 100}[seed%3])
		for range 20 { // times that the clock is set
			r.now = r.now.Add(jump(r.random))
			r.grants = nil
			var since time.Time // the last yes or the first call
			for range 1 + r.random.IntN(40) {
				ok := r.step()
				if since.IsZero() || ok {
					since = r.now
				}
				if !ok && r.now.Sub(since) >= time.Hour {
					t.Fatalf("seed %d: sent away for %v", seed, r.now.Sub(since))
				}
				if shut := r.storm.Shut(r.now); shut != !ok {
					t.Fatalf("seed %d: shut %v after the answer %v", seed, shut, ok)
				}
				if left := r.storm.Next().Sub(r.now); !ok && (left <= 0 || left > time.Hour) {
					t.Fatalf("seed %d: not before %v from now", seed, left)
				}
			}
			if few := tooMany(r.vain(), 3, 30*time.Second); few != nil {
				t.Fatalf("seed %d: %d refreshes in %v", seed, len(few), few[len(few)-1].Sub(few[0]))
			}
		}
	}
}

// TestStormShutClockSetBack: a Storm that nobody asks any more does not stay shut for
// longer because the clock was set back.
func TestStormShutClockSetBack(t *testing.T) {
	var s limit.Storm
	for generation := range uint64(4) {
		s.Allow(generation+1, begin)
	}
	if !s.Shut(begin) {
		t.Fatal("not shut after a burst")
	}
	if s.Shut(begin.Add(-24 * time.Hour)) {
		t.Error("shut for a day because the clock was set back")
	}
}
