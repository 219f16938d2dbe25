package chance_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/chance"
)

func TestBelow(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, 0} {
		if got := chance.Below(d); got != 0 {
			t.Errorf("below %v: %v", d, got)
		}
	}
	drawn := map[time.Duration]bool{}
	for range 1000 {
		d := chance.Below(time.Second)
		if d < 0 || d >= time.Second {
			t.Fatalf("below a second: %v", d)
		}
		drawn[d] = true
	}
	if len(drawn) < 990 {
		t.Errorf("%d values in 1000 draws", len(drawn))
	}
}

// TestSimulate is the last of the package: what it puts in stays.
func TestSimulate(t *testing.T) {
	chance.Simulate(func(below time.Duration) time.Duration { return below / 2 })
	if got := chance.Below(time.Minute); got != 30*time.Second {
		t.Errorf("drew %v", got)
	}
	if got := chance.Below(0); got != 0 {
		t.Errorf("drew %v below 0", got)
	}
}
