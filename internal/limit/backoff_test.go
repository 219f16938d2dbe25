package limit_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

var (
	errDown = errors.New("down")
	begin   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		name        string
		failures    int
		tries       int
		retryAfter  time.Duration
		least, most time.Duration // of the wait
	}{
		{"first", 1, 0, 0, 0, time.Second},
		{"second", 2, 0, 0, 0, 2 * time.Second},
		{"fifth", 5, 0, 0, 0, 16 * time.Second},
		{"tenth", 10, 0, 0, 0, time.Minute},
		{"millionth", 1_000_000, 0, 0, 0, time.Minute},
		{"others failed", 1, 4, 0, 0, 8 * time.Second},
		{"others failed for ever", 1, 255, 0, 0, time.Minute},
		{"Retry-After", 1, 0, 30 * time.Second, 30 * time.Second, 30 * time.Second},
		{"Retry-After of a day", 1, 0, 24 * time.Hour, 10 * time.Minute, 10 * time.Minute},
		{"Retry-After that is negative", 1, 0, -time.Hour, 0, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before limit.Backoff
			for range tc.failures - 1 {
				before.Failed(errDown, 0, 0, begin)
			}
			var longest time.Duration
			for range 200 {
				b := before
				b.Failed(errDown, tc.tries, tc.retryAfter, begin)
				if b.Failures() != tc.failures {
					t.Fatalf("%d failures, want %d", b.Failures(), tc.failures)
				}
				wait := b.Remaining(begin)
				longest = max(longest, wait)
				if wait < tc.least || wait > tc.most {
					t.Fatalf("it waits %v, want %v to %v", wait, tc.least, tc.most)
				}
				if wait > 0 && (b.Pending(begin) != errDown || b.Pending(begin.Add(wait-1)) != errDown) {
					t.Fatalf("nothing pending before %v have passed", wait)
				}
				if b.Pending(begin.Add(wait)) != nil {
					t.Fatalf("still pending after %v", wait)
				}
				if b.Pending(begin.Add(-24*time.Hour)) != nil {
					t.Fatal("a clock that was set back a day keeps it waiting")
				}
			}
			if longest < tc.most/2 {
				t.Errorf("it never waited longer than %v, want up to %v", longest, tc.most)
			}
		})
	}
	var none limit.Backoff
	if none.Pending(begin) != nil || none.Remaining(begin) != 0 || none.Failures() != 0 {
		t.Error("a backoff without a failure waits")
	}
}

// TestBackoffBound: at whatever times it is asked and whatever the server answers,
// nothing is tried before Retry-After has passed nor held back for more than the longest
// wait, and for no more than 10 minutes if the clock is set.
func TestBackoffBound(t *testing.T) {
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 2))
		var (
			b       limit.Backoff
			now     = begin // what the clock says
			asked   = now   // the first call since the clock was set
			least   time.Time
			most    time.Time
			pending error
		)
		for step := range 200 {
			if random.IntN(20) == 0 { // the clock is set
				now = now.Add(jump(random))
				asked, least, most = now, now, now.Add(limit.MaxRetryAfter)
			} else {
				now = now.Add(anyDuration(random, 2*time.Minute))
			}
			err, wait := b.Pending(now), b.Remaining(now)
			switch {
			case (err != nil) != (wait > 0), err != nil && err != pending:
				t.Fatalf("seed %d, step %d: %v is pending, and for %v", seed, step, err, wait)
			case err == nil && now.Before(least):
				t.Fatalf("seed %d, step %d: tried %v too early", seed, step, least.Sub(now))
			case err != nil && !now.Before(most):
				t.Fatalf("seed %d, step %d: held back %v too long; the clock was set %v ago", seed, step, now.Sub(most), now.Sub(asked))
			}
			switch {
			case err != nil:
			case random.IntN(4) == 0: // it worked
				b, least, most = limit.Backoff{}, now, now
			default:
				tries, retryAfter := random.IntN(300), time.Duration(0)
				if random.IntN(2) == 0 {
					retryAfter = anyDuration(random, time.Hour) - time.Minute
				}
				pending = errors.New("failed")
				b.Failed(pending, tries, retryAfter, now)
				asks := min(max(retryAfter, 0), 10*time.Minute)
				least, most = now.Add(asks), now.Add(max(asks, time.Minute))
			}
		}
	}
}

// jump returns by how much a clock is set: a little, or a lot, back or forward.
func jump(random *rand.Rand) time.Duration {
	d := anyDuration(random, 1000*time.Hour)
	if random.IntN(2) == 0 {
		return -d
	}
	return d
}

// TestBackoffRate: an endpoint that is down is asked some 7 times in the first half
// minute and 120 times an hour after that, by each who needs a token all the time. What
// is left to chance is so little, of so many, that the test does not depend on it.
func TestBackoffRate(t *testing.T) {
	const sessions = 1000
	first, later := 0, 0
	for range sessions {
		var b limit.Backoff
		for now := begin; now.Before(begin.Add(2 * time.Hour)); now = now.Add(max(1, b.Remaining(now))) {
			b.Failed(errDown, 0, 0, now)
			switch {
			case now.Before(begin.Add(30 * time.Second)):
				first++
			case !now.Before(begin.Add(time.Hour)):
				later++
			}
		}
	}
	if mean := float64(first) / sessions; mean < 6 || mean > 8 {
		t.Errorf("%.1f times in the first half minute, want some 7", mean)
	}
	if mean := float64(later) / sessions; mean < 115 || mean > 125 {
		t.Errorf("%.1f times an hour, want 120", mean)
	}
}

func TestRetry(t *testing.T) {
	for range 200 {
		var r limit.Retry
		for i, most := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			most *= time.Second
			if d := r.Next(); d < most/2 || d >= most {
				t.Fatalf("wait %d is %v, want %v to %v", i, d, most/2, most)
			}
		}
		for range 100 {
			if d := r.Next(); d < 30*time.Second || d >= time.Minute {
				t.Fatalf("after many failures it waits %v", d)
			}
		}
	}
}

// TestRetryBound: never more than 6 + t/30s in any time t.
func TestRetryBound(t *testing.T) {
	for range 200 {
		var r limit.Retry
		var tries []time.Time
		for now := begin; len(tries) < 50; now = now.Add(r.Next()) {
			tries = append(tries, now)
		}
		if few := tooMany(tries, 6, 30*time.Second); few != nil {
			t.Fatalf("%d tries in %v", len(few), few[len(few)-1].Sub(few[0]))
		}
	}
}

// tooMany returns those of times that are more than most + t/interval in a time t; nil if
// there are none.
func tooMany(times []time.Time, most int, interval time.Duration) []time.Time {
	// From the i-th to the j-th there may be most + t/interval if they are at least
	// j-i+1-most intervals apart. So the worst i for each j is that which is the
	// furthest behind an even rate.
	late := func(i int) time.Duration { return times[i].Sub(times[0]) - time.Duration(i)*interval }
	worst := 0
	for j := range times {
		if late(j) > late(worst) {
			worst = j
		}
		if late(worst)-late(j) > time.Duration(most-1)*interval {
			return times[worst : j+1]
		}
	}
	return nil
}

func TestTooMany(t *testing.T) {
	for _, tc := range []struct {
		at   []time.Duration
		want int
	}{
		{nil, 0},
		{[]time.Duration{0, 0, 0}, 0},
		{[]time.Duration{0, 0, 0, 0}, 4},
		{[]time.Duration{0, 0, 0, 9}, 4},
		{[]time.Duration{0, 0, 0, 10, 20, 30}, 0},
		{[]time.Duration{0, 0, 0, 10, 20, 29}, 6},
		{[]time.Duration{0, 100, 100, 100, 109}, 4},
		{[]time.Duration{0, 100, 100, 100, 110}, 0},
	} {
		var times []time.Time
		for _, d := range tc.at {
			times = append(times, begin.Add(d))
		}
		if got := tooMany(times, 3, 10); len(got) != tc.want {
			t.Errorf("%v: %d are too many, want %d", tc.at, len(got), tc.want)
		}
	}
}

func TestRemaining(t *testing.T) {
	for _, tc := range []struct {
		then time.Time
		want time.Duration
	}{
		{time.Time{}, 0},
		{begin.Add(-time.Hour), 0},
		{begin, 0},
		{begin.Add(1), 1},
		{begin.Add(time.Minute), time.Minute},
		{begin.Add(time.Minute + 1), 0}, // the clock was set back
		{begin.Add(1000 * time.Hour), 0},
	} {
		if got := limit.Remaining(tc.then, begin, time.Minute); got != tc.want {
			t.Errorf("%v before %v: %v, want %v", begin, tc.then, got, tc.want)
		}
	}
}

// TestBackoffKeepsRetryAfter: a try that was forced, and failed without a word of when to come
// back, does not cut short what the server had asked for.
func TestBackoffKeepsRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 100 {
		var b limit.Backoff
		b.Failed(errors.New("slower"), 0, 2*time.Minute, now)
		b.Failed(errors.New("busy"), 0, 0, now.Add(time.Second))
		if got := b.Remaining(now.Add(time.Second)); got != 119*time.Second {
			t.Fatalf("%v left", got)
		}
	}
}
