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

// UntilDue returns how long it is until a token is to be refreshed; not more than 0 if it is.
// That is at due, or beat after it was issued if that is earlier; beat 0: at due. A zero due is
// unknown. The token is held since then, and a zero issued is as long ago.
//
// The time of day is what counts, because it goes on while the machine sleeps. But if it was
// set back since the token was issued, here or by another process, it would be long in coming:
// so there is no longer wait from when the token was got than there is from when it was issued.
func UntilDue(due, issued, since time.Time, beat time.Duration, now time.Time) time.Duration {
	if next := issued.Add(beat); beat > 0 && (due.IsZero() || next.Before(due)) {
		due = next
	}
	if issued.IsZero() {
		issued = since.Round(0)
	}
	return min(due.Sub(now.Round(0)), due.Sub(issued)-now.Sub(since))
}
