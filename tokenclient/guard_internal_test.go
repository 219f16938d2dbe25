package tokenclient

import (
	"errors"
	"testing"
	"time"
)

func TestGuardWindows(t *testing.T) {
	const year = 365 * 24 * time.Hour
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name             string
		lifetime, before time.Duration
		// soft is within [early, late] before expiry, hard exactly that before it.
		early, late, hard time.Duration
	}{
		{"a second", time.Second, 0, 250 * time.Millisecond, 150 * time.Millisecond, 50 * time.Millisecond},
		{"ten seconds", 10 * time.Second, 0, 2500 * time.Millisecond, 1500 * time.Millisecond, 500 * time.Millisecond},
		{"15 minutes", 15 * time.Minute, 0, 225 * time.Second, 135 * time.Second, 10 * time.Second},
		{"an hour", time.Hour, 0, 375 * time.Second, 225 * time.Second, 10 * time.Second},
		{"ten years", 10 * year, 0, 375 * time.Second, 225 * time.Second, 10 * time.Second},
		{"a nanosecond", 1, 0, 1, 0, 0},
		{"before", time.Hour, 10 * time.Minute, 750 * time.Second, 450 * time.Second, 10 * time.Second},
		{"before, more than the lifetime", time.Hour, 2 * time.Hour, 2250 * time.Second, 1350 * time.Second, 10 * time.Second},
		{"before, less than the hard window", time.Hour, time.Second, 10 * time.Second, 10 * time.Second, 10 * time.Second},
		{"never early", time.Hour, -1, 0, 0, 0},
		{"never early, a second", time.Second, -time.Hour, 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expiry := issued.Add(tc.lifetime)
			for range 1000 {
				soft, hard := windows(issued, expiry, tc.before)
				if hard != expiry.Add(-tc.hard) {
					t.Fatalf("hard window %v, want %v", expiry.Sub(hard), tc.hard)
				}
				if d := expiry.Sub(soft); d > tc.early || d < tc.late {
					t.Fatalf("soft window %v, want %v to %v", d, tc.late, tc.early)
				}
				if soft.Before(issued) || soft.After(hard) || hard.After(expiry) {
					t.Fatalf("issued %v, soft %v, hard %v, expiry %v", issued, soft, hard, expiry)
				}
			}
		})
	}
}

// A lifetime that is none leaves nothing to scale with: the expiry decides alone.
func TestGuardWindowsOfNoLifetime(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name           string
		issued, expiry time.Time
	}{
		{"no expiry", now, time.Time{}},
		{"nothing", time.Time{}, time.Time{}},
		{"zero", now, now},
		{"negative", now, now.Add(-time.Hour)},
	} {
		for _, before := range []time.Duration{0, time.Minute, -1} {
			if soft, hard := windows(tc.issued, tc.expiry, before); soft != tc.expiry || hard != tc.expiry {
				t.Errorf("%s, %v before: soft %v, hard %v, want %v", tc.name, before, soft, hard, tc.expiry)
			}
		}
	}
}

// Replicas that hold tokens of the same age do not refresh together.
func TestGuardWindowsSpreadReplicas(t *testing.T) {
	issued := time.Now()
	expiry := issued.Add(time.Hour)
	var buckets [10]int
	const replicas = 10_000
	for range replicas {
		soft, _ := windows(issued, expiry, 0)
		// 225 s to 375 s before expiry
		buckets[min(9, int((375*time.Second-expiry.Sub(soft))/(15*time.Second)))]++
	}
	for i, n := range buckets {
		if n < replicas/20 || n > replicas/5 {
			t.Errorf("%d of %d replicas refresh in part %d of the window", n, replicas, i)
		}
	}
}

func TestGuardBackoff(t *testing.T) {
	errDown := errors.New("down")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name        string
		failures    int
		announced   int
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
		{"Retry-After of a day", 1, 0, 24 * time.Hour, maxRetryAfter, maxRetryAfter},
		{"Retry-After that is negative", 1, 0, -time.Hour, 0, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var longest time.Duration
			for range 200 {
				b := backoff{failures: tc.failures - 1}
				b.failed(errDown, tc.announced, tc.retryAfter, now)
				wait := b.until.Sub(now)
				longest = max(longest, wait)
				if wait < tc.least || wait > tc.most {
					t.Fatalf("it waits %v, want %v to %v", wait, tc.least, tc.most)
				}
				if wait > 0 && b.pending(now.Add(wait-1)) != errDown {
					t.Fatalf("nothing pending shortly before %v have passed", wait)
				}
				if b.pending(now.Add(wait)) != nil {
					t.Fatalf("still pending after %v", wait)
				}
				if b.pending(now.Add(-24*time.Hour)) != nil {
					t.Fatal("a clock that was set back a day keeps it waiting")
				}
			}
			if longest < tc.most/2 {
				t.Errorf("it never waited longer than %v, want up to %v", longest, tc.most)
			}
		})
	}
	if new(backoff).pending(now) != nil {
		t.Error("a backoff without a failure waits")
	}
}

func TestGuardStorm(t *testing.T) {
	// A step is some time later, a refusal of the next generation, and a replay.
	type step struct {
		after   time.Duration
		allowed bool
		refused bool // the replay
	}
	repeat := func(n int, s step) (steps []step) {
		for range n {
			steps = append(steps, s)
		}
		return steps
	}
	join := func(parts ...[]step) (steps []step) {
		for _, p := range parts {
			steps = append(steps, p...)
		}
		return steps
	}
	burst := repeat(stormBurst, step{0, true, true})
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"burst, then nothing", join(burst, repeat(10, step{0, false, true}))},
		{"burst of good ones is one too", join(repeat(stormBurst, step{0, true, false}), repeat(10, step{0, false, false}))},
		{"one more for each interval", join(burst, []step{
			{stormInterval, true, true}, {stormInterval, false, true}, {stormInterval, true, true},
			{2 * stormInterval, false, true}, {2 * stormInterval, true, true},
		})},
		{"at most an hour", join(burst, repeat(20, step{stormMaxInterval, true, true}), []step{{stormMaxInterval / 2, false, true}, {stormMaxInterval / 2, true, true}})},
		{"good ones as slow as the interval", repeat(1000, step{stormInterval, true, false})},
		{"a good one ends the storm", join(burst, repeat(20, step{stormMaxInterval, true, true}),
			[]step{{stormMaxInterval, true, false}}, repeat(10, step{stormInterval, true, false}))},
		{"the clock is set back", join(burst, []step{{-24 * time.Hour, false, true}, {stormInterval, true, true}})},
		{"the clock is set forward", join(burst, []step{{1000 * time.Hour, true, true}, {0, false, true}})},
		{"a year of rest", join(repeat(stormBurst, step{0, true, false}), []step{{365 * 24 * time.Hour, true, false}},
			repeat(stormBurst-1, step{0, true, false}), repeat(3, step{0, false, false}))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var g stormGuard
			now, generation := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), uint64(1)
			for i, s := range tc.steps {
				now = now.Add(s.after)
				if got := g.allow(generation, now); got != s.allowed {
					t.Fatalf("step %d: allowed %v, want %v", i, got, s.allowed)
				}
				if !s.allowed {
					if next := g.next(); !next.After(now) || next.Sub(now) > stormMaxInterval {
						t.Fatalf("step %d: not allowed before %v, and it is %v", i, next, now)
					}
					continue
				}
				for range 3 { // those who were refused with it too
					if !g.allow(generation, now) {
						t.Fatalf("step %d: the second who was refused with the same token is sent away", i)
					}
				}
				generation++
				for range 3 {
					g.judge(generation, s.refused)
				}
			}
		})
	}
}
