package limit

import "time"

// Windows are the times at the end of a token's life in which it is refreshed before it
// expires. The zero Windows are empty.
type Windows struct {
	soft, hard time.Duration // before the expiry
}

// NewWindows returns the windows of a token that lives for lifetime. Both scale with it,
// so that a token of ten seconds is not refreshed all the time. The soft window is
// jittered by a quarter each way, so that many clients do not refresh together.
//
// early is how long the soft window is, before jitter: 0 stands for a fifth of the lifetime,
// up to 5 minutes, and what is longer than half of the lifetime for that half. If early
// is negative both windows are empty. So they are if the lifetime is not positive.
func NewWindows(lifetime, early time.Duration) Windows {
	if lifetime <= 0 || early < 0 {
		return Windows{}
	}
	window := min(5*time.Minute, lifetime/5)
	if early > 0 {
		window = min(early, lifetime/2)
	}
	hard := min(10*time.Second, lifetime/20)
	soft := window + window/4 - jitter(window/2+1)
	return Windows{soft: max(soft, hard), hard: hard}
}

// Soft returns from when on a token that expires at expiry is refreshed while requests
// go out with it. A zero expiry is unknown, and the time is zero, too: never.
func (w Windows) Soft(expiry time.Time) time.Time { return before(expiry, w.soft) }

// Hard returns from when on nothing should be sent with the token any more; zero if
// expiry is.
func (w Windows) Hard(expiry time.Time) time.Time { return before(expiry, w.hard) }

func before(expiry time.Time, d time.Duration) time.Time {
	if expiry.IsZero() {
		return time.Time{}
	}
	return expiry.Add(-d)
}
