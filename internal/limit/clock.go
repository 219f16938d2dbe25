package limit

import "time"

// Remaining returns how long it is from now until then, or 0 if then has come. most is
// the longest wait that was ever meant: if there is more, the clock was set back in
// between, and then has come as far as anybody can tell.
func Remaining(then, now time.Time, most time.Duration) time.Duration {
	if d := then.Round(0).Sub(now.Round(0)); d > 0 && d <= most {
		return d
	}
	return 0
}
