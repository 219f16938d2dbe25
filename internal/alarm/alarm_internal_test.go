package alarm

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestDue: to the nanosecond, however often it is asked.
func TestDue(t *testing.T) {
	for _, left := range []time.Duration{-time.Hour, 0, 1, rest - 1, rest, rest + 1, time.Second + 1, time.Hour} {
		for _, step := range []time.Duration{time.Millisecond, rest - 1, rest, 7 * time.Second, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				var a Alarm
				since := time.Now()
				at := since.Add(left).Round(0)
				for range 100 {
					for range 3 {
						if got, want := a.Due(at, since), !time.Now().Before(at); got != want {
							t.Fatalf("due in %v: after %v %v, want %v", left, time.Since(since), got, want)
						}
					}
					if to := time.Until(at); to > 0 && to < step {
						time.Sleep(to - 1)
						if a.Due(at, since) {
							t.Fatalf("due in %v: a nanosecond too early", left)
						}
						time.Sleep(time.Nanosecond)
					} else {
						time.Sleep(step)
					}
				}
			})
		}
	}
}

// TestQuiet: an Alarm that is asked often reads the clock ten times a second, and one that is
// not has no timer.
func TestQuiet(t *testing.T) {
	for _, tc := range []struct {
		step  time.Duration
		reads int
	}{
		{time.Millisecond, 100}, // 10 seconds of it
		{rest / 2, 100},
		{often, 50},
		{time.Second, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			var a Alarm
			since := time.Now()
			at := since.Add(time.Hour).Round(0)
			if a.Due(at, since); a.quiet.Load() {
				t.Error("asked once it is quiet")
			}
			time.Sleep(time.Second)
			reads := 0
			for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(tc.step) {
				synctest.Wait() // for a timer of this moment
				if !a.quiet.Load() {
					reads++
				}
				a.Due(at, since)
				if a.quiet.Load() && tc.step >= often {
					t.Fatalf("asked each %v it has a timer", tc.step)
				}
			}
			if most := tc.reads + 2; reads > most {
				t.Errorf("asked each %v it read the clock %d times in 10 s, want %d at most", tc.step, reads, most)
			}
			time.Sleep(rest)
			synctest.Wait()
			if a.quiet.Load() {
				t.Errorf("asked each %v: it is quiet for longer than %v", tc.step, rest)
			}
		})
	}
}

// TestClockJumps: the wall clock is set, or the machine slept. When the Alarm is quiet no more
// the wall clock decides.
func TestClockJumps(t *testing.T) {
	for _, tc := range []struct {
		name       string
		left, jump time.Duration
		want       bool
	}{
		{"slept past it", time.Hour, 2 * time.Hour, true},
		{"slept for a minute", time.Hour, time.Minute, false},
		{"set back by a day", time.Hour, -24 * time.Hour, false},
		{"was due, and the clock is set back", -time.Hour, -24 * time.Hour, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var a Alarm
			since := time.Now()
			at := since.Add(tc.left).Round(0)
			for range 3 {
				if got, want := a.Due(at, since), tc.left <= 0; got != want {
					t.Errorf("%s: due at first: %v, want %v", tc.name, got, want)
				}
			}
			at = at.Add(-tc.jump) // as if it had come closer
			time.Sleep(rest)
			synctest.Wait()
			if got := a.Due(at, since); got != tc.want {
				t.Errorf("%s: %v after the jump due: %v, want %v", tc.name, rest, got, tc.want)
			}
		})
	}
}

// TestConcurrent: whoever asks at the same moment gets the same answer.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Alarm
		since := time.Now()
		at := since.Add(time.Second).Round(0)
		for range 20 {
			time.Sleep(51 * time.Millisecond)
			want := !time.Now().Before(at)
			for range 8 {
				go func() {
					if got := a.Due(at, since); got != want {
						t.Errorf("after %v: %v, want %v", time.Since(since), got, want)
					}
				}()
			}
			synctest.Wait()
		}
	})
}
