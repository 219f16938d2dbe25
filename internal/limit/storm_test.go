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
	// A step is some time later, a refusal of the next generation, and a replay.
	type step struct {
		after   time.Duration
		allowed bool
		refused bool // the replay
	}
	repeat := func(n int, s step) []step { return slices.Repeat([]step{s}, n) }
	join := slices.Concat[[]step]
	bad := repeat(burst, step{0, true, true})
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"burst, then nothing", join(bad, repeat(10, step{0, false, true}))},
		{"burst of good ones is one too", join(repeat(burst, step{0, true, false}), repeat(10, step{0, false, false}))},
		{"one more for each interval", join(bad, []step{
			{interval, true, true}, {interval, false, true}, {interval, true, true},
			{2 * interval, false, true}, {2 * interval, true, true},
		})},
		{"at most an hour", join(bad, repeat(20, step{longest, true, true}), []step{{longest / 2, false, true}, {longest / 2, true, true}})},
		{"good ones as slow as the interval", repeat(1000, step{interval, true, false})},
		{"a good one ends the storm", join(bad, repeat(20, step{longest, true, true}),
			[]step{{longest, true, false}}, repeat(10, step{interval, true, false}))},
		{"the clock is set back", join(bad, []step{{-24 * time.Hour, false, true}, {interval, true, true}})},
		{"the clock is set forward", join(bad, []step{{1000 * time.Hour, true, true}, {0, false, true}})},
		{"a year of rest", join(repeat(burst, step{0, true, false}), []step{{365 * 24 * time.Hour, true, false}},
			repeat(burst-1, step{0, true, false}), repeat(3, step{0, false, false}))},
		{"the interval begins with the burst", join([]step{{0, true, false}, {interval - 1, true, false}, {1, true, false}, {0, true, false}},
			repeat(3, step{interval / 4, false, false}), []step{{interval / 4, true, false}})},
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
				for range 3 {
					s.Replayed(generation, step.refused)
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
	grants     []time.Time
	refused    int // per cent of the replays
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
		r.grants = append(r.grants, r.now)
		fallthrough
	default:
		if r.random.IntN(5) > 0 { // else the refresh failed
			r.generation++
			r.storm.Replayed(r.generation, r.random.IntN(100) < r.refused)
		}
	}
	return ok
}

// TestStormBound: however refusals come, there are never more refreshes than 3 + t/30s in
// any time t, also of requests that come home late.
func TestStormBound(t *testing.T) {
	for seed := range uint64(1000) {
		r := newStormRun(seed, []int{0, 20, 50, 90, 100}[seed%5])
		for range 400 {
			r.step()
			if r.random.IntN(3) == 0 { // somebody who was slow
				old := r.generation - min(r.generation, r.random.Uint64N(4))
				r.storm.Replayed(old, r.random.IntN(2) == 0)
			}
		}
		if few := tooMany(r.grants, 3, 30*time.Second); few != nil {
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
		if few := tooMany(r.grants, 9, time.Hour); few != nil {
			t.Fatalf("seed %d: %d refreshes in %v", seed, len(few), few[len(few)-1].Sub(few[0]))
		}
	}
	// As many as that there are if it is asked all the time.
	var s limit.Storm
	generation := uint64(1)
	for now := begin; now.Before(begin.Add(12 * time.Hour)); now = now.Add(time.Second) {
		if ok, _ := s.Allow(generation, now); ok {
			generation++
			s.Replayed(generation, true)
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
			if few := tooMany(r.grants, 3, 30*time.Second); few != nil {
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
