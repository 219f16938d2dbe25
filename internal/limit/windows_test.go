package limit_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// windowsOf returns how long before the expiry the windows begin.
func windowsOf(w limit.Windows) (soft, hard time.Duration) {
	expiry := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return expiry.Sub(w.Soft(expiry)), expiry.Sub(w.Hard(expiry))
}

func TestWindows(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, tc := range []struct {
		name            string
		lifetime, early time.Duration
		most, least     time.Duration // of the soft window
		hard            time.Duration
	}{
		{"a second", time.Second, 0, 250 * time.Millisecond, 150 * time.Millisecond, 50 * time.Millisecond},
		{"ten seconds", 10 * time.Second, 0, 2500 * time.Millisecond, 1500 * time.Millisecond, 500 * time.Millisecond},
		{"15 minutes", 15 * time.Minute, 0, 225 * time.Second, 135 * time.Second, 10 * time.Second},
		{"an hour", time.Hour, 0, 375 * time.Second, 225 * time.Second, 10 * time.Second},
		{"ten years", 10 * year, 0, 375 * time.Second, 225 * time.Second, 10 * time.Second},
		{"a nanosecond", 1, 0, 1, 0, 0},
		{"early", time.Hour, 10 * time.Minute, 750 * time.Second, 450 * time.Second, 10 * time.Second},
		{"early, more than the lifetime", time.Hour, 2 * time.Hour, 2250 * time.Second, 1350 * time.Second, 10 * time.Second},
		{"early, less than the hard window", time.Hour, time.Second, 10 * time.Second, 10 * time.Second, 10 * time.Second},
		{"never early", time.Hour, -1, 0, 0, 0},
		{"never early, a second", time.Second, -time.Hour, 0, 0, 0},
		{"no lifetime", 0, 0, 0, 0, 0},
		{"no lifetime, early", 0, time.Minute, 0, 0, 0},
		{"a negative lifetime", -time.Hour, 0, 0, 0, 0},
		{"a negative lifetime, early", -time.Hour, time.Minute, 0, 0, 0},
		{"the least lifetime", math.MinInt64, time.Minute, 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 1000 {
				soft, hard := windowsOf(limit.NewWindows(tc.lifetime, tc.early))
				if hard != tc.hard {
					t.Fatalf("hard window %v, want %v", hard, tc.hard)
				}
				if soft > tc.most || soft < tc.least {
					t.Fatalf("soft window %v, want %v to %v", soft, tc.least, tc.most)
				}
			}
		})
	}
}

// TestWindowsBound: a token is kept for three eighths of its lifetime at least, and is
// refreshed before it must not be sent.
func TestWindowsBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		lifetime, early := anyDuration(random, math.MaxInt64), anyDuration(random, math.MaxInt64)
		switch random.IntN(3) {
		case 0:
			early = 0
		case 1:
			early %= lifetime/3*2 + 1
		}
		soft, hard := windowsOf(limit.NewWindows(lifetime, early))
		if hard < 0 || hard > soft || hard > 10*time.Second || lifetime-soft < lifetime/8*3 {
			t.Fatalf("a lifetime of %v, %v early: the soft window is %v and the hard one %v", lifetime, early, soft, hard)
		}
	}
}

// anyDuration returns a duration from 1 to most, of any magnitude.
func anyDuration(random *rand.Rand, most time.Duration) time.Duration {
	return min(max(1, time.Duration(random.Int64()>>random.IntN(63))), most)
}

// TestWindowsUnknownExpiry: what does not expire is in no window, ever.
func TestWindowsUnknownExpiry(t *testing.T) {
	for _, w := range []limit.Windows{{}, limit.NewWindows(time.Hour, 0)} {
		if soft, hard := w.Soft(time.Time{}), w.Hard(time.Time{}); !soft.IsZero() || !hard.IsZero() {
			t.Errorf("soft from %v on and hard from %v on, want the zero time", soft, hard)
		}
	}
	expiry := time.Now()
	if soft, hard := new(limit.Windows).Soft(expiry), new(limit.Windows).Hard(expiry); soft != expiry || hard != expiry {
		t.Errorf("the zero windows begin at %v and %v, want the expiry %v", soft, hard, expiry)
	}
}

// TestWindowsSpreadReplicas: replicas that hold tokens of the same age do not refresh
// together.
func TestWindowsSpreadReplicas(t *testing.T) {
	var parts [10]int
	const replicas = 10_000
	for range replicas {
		soft, _ := windowsOf(limit.NewWindows(time.Hour, 0))
		parts[min(9, int((375*time.Second-soft)/(15*time.Second)))]++ // of 375 s to 225 s
	}
	for i, n := range parts {
		if n < replicas/20 || n > replicas/5 {
			t.Errorf("%d of %d replicas refresh in part %d of the window", n, replicas, i)
		}
	}
}
