package protocol

import (
	"testing"
	"time"
)

// TestElapsed: a machine that slept has only the wall clock to tell, and if that was set
// back nothing is known.
func TestElapsed(t *testing.T) {
	then := time.Now()
	for _, tc := range []struct {
		wall time.Duration // what the wall clock says has passed; the monotonic clock says nothing
		want time.Duration
		ok   bool
	}{{time.Minute, time.Minute, true}, {0, 0, true}, {-time.Nanosecond, 0, false}, {-time.Hour, 0, false}} {
		tm := &timing{clock: func() time.Time { return then.Round(0).Add(tc.wall) }}
		if d, ok := tm.elapsed(then); ok != tc.ok || ok && d != tc.want {
			t.Errorf("after %v: %v, %v; want %v, %v", tc.wall, d, ok, tc.want, tc.ok)
		}
	}
}
