package tokenclient

import (
	"math/rand/v2"
	"time"
)

// How often refreshes that a 401 asked for may run, however many requests are
// refused: stormBurst at once, then one per interval. The interval doubles while
// the server refuses what it has just issued.
const (
	stormBurst       = 3
	stormInterval    = 30 * time.Second
	stormMaxInterval = time.Hour
)

// stormGuard bounds the refreshes of a session whose tokens are refused although
// they are new: a wrong audience, an endpoint that answers 401 to everybody, a
// server that lost its keys. Session.mu guards it.
type stormGuard struct {
	granted uint64 // the last generation that may be refreshed because of a 401
	left    int
	since   time.Time // when left was last counted up; zero: never used
	judged  uint64    // the last generation with which a replay was refused
	strikes int       // refused replays in a row, one for each generation
	shut    bool      // the last answer of allow was no, and the hook was told
}

// allow reports whether generation, which the server refused, may be refreshed.
// All requests that were refused under one generation count once.
func (g *stormGuard) allow(generation uint64, now time.Time) bool {
	if generation <= g.granted {
		return true
	}
	if g.since.IsZero() {
		g.left, g.since = stormBurst, now
	}
	elapsed, interval := now.Sub(g.since), g.interval()
	if elapsed < 0 { // the clock was set back
		g.since, elapsed = now, 0
	}
	if n := int64(elapsed / interval); n > 0 {
		g.left = int(min(stormBurst, int64(g.left)+n))
		g.since = g.since.Add(time.Duration(n) * interval)
	}
	if g.strikes >= stormBurst {
		g.left = min(g.left, 1)
	}
	if g.left == 0 {
		return false
	}
	g.left--
	g.granted = generation
	return true
}

// judge notes how a replay went. Whether the server takes a token elsewhere says
// nothing: an endpoint that always refuses may stand beside others.
func (g *stormGuard) judge(generation uint64, refused bool) {
	switch {
	case !refused:
		g.strikes = 0
	case generation > g.judged:
		g.judged = generation
		g.strikes++
	}
}

func (g *stormGuard) interval() time.Duration {
	return min(stormInterval<<min(max(g.strikes-stormBurst, 0), 10), stormMaxInterval)
}

// next is when allow may say yes again after it said no.
func (g *stormGuard) next() time.Time { return g.since.Add(g.interval()) }

const (
	backoffFirst = time.Second
	backoffMax   = time.Minute
)

// backoff says when a refresh that failed may be tried again. Session.mu guards it.
type backoff struct {
	failures int
	until    time.Time
	err      error // what the last refresh failed with; nil: it did not
}

// failed notes a failure. The wait doubles with each failure, and counts the
// presentations of the same refresh token by other processes, announced of them,
// as failures too. It is drawn from the whole range down to nothing ("full
// jitter"), so that clients of a server that came back do not arrive together.
func (b *backoff) failed(err error, announced int, retryAfter time.Duration, now time.Time) {
	b.failures++
	wait := backoffFirst << min(max(b.failures, announced)-1, 10)
	wait = rand.N(min(wait, backoffMax))
	b.err, b.until = err, now.Add(max(wait, min(retryAfter, maxRetryAfter)))
}

// pending returns the error of the last failure while it is too early to try
// again. A clock that was set back by more than the longest wait ends it.
func (b *backoff) pending(now time.Time) error {
	if b.err == nil || !now.Before(b.until) || b.until.Sub(now) > maxRetryAfter {
		return nil
	}
	return b.err
}

// windows says when before expiry a token is refreshed: in the background from
// soft on, before anything is sent from hard on. Both scale with the lifetime, so
// that a token of ten seconds is not refreshed all the time, and soft is jittered
// by a quarter each way, so that many clients do not refresh together.
//
// before is Config.RefreshBefore. An expiry that is unknown gives zero times:
// never. One that is not after issued has no lifetime to scale with.
func windows(issued, expiry time.Time, before time.Duration) (soft, hard time.Time) {
	if expiry.IsZero() {
		return time.Time{}, time.Time{}
	}
	lifetime := expiry.Sub(issued)
	if lifetime <= 0 {
		return expiry, expiry
	}
	if before < 0 {
		return expiry, expiry
	}
	hard = expiry.Add(-min(10*time.Second, lifetime/20))
	window := min(5*time.Minute, lifetime/5)
	if before > 0 {
		window = min(before, lifetime/2)
	}
	soft = expiry.Add(-window - window/4 + rand.N(window/2+1))
	if soft.After(hard) {
		soft = hard
	}
	return soft, hard
}
