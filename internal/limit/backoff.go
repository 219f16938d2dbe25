package limit

import "time"

// The waits of a [Backoff] and a [Retry].
const (
	BackoffFirst  = time.Second
	BackoffMax    = time.Minute
	MaxRetryAfter = 10 * time.Minute // what a server may ask for
)

// doubled returns BackoffFirst, doubled n times, up to BackoffMax.
func doubled(n int) time.Duration { return min(BackoffFirst<<min(max(n, 0), 10), BackoffMax) }

// A Backoff says when something that failed may be tried again, and what to answer
// until then. The zero Backoff is that of something that has not failed. A Backoff may be
// copied.
type Backoff struct {
	failures int
	until    time.Time
	err      error // nil: it did not fail
}

// Failed notes a failure, with err. The wait doubles with each failure, those of others
// with the same token included: tries is how often they are known to have tried. It is
// drawn from the whole range down to nothing ("full jitter"), so that clients of a server
// that came back do not arrive together. It is at least what the server asked for with
// retryAfter, up to [MaxRetryAfter], and never shortens a wait that has begun: who tried all
// the same takes back nothing that the server asked for before.
func (b *Backoff) Failed(err error, tries int, retryAfter time.Duration, now time.Time) {
	b.failures++
	wait := jitter(doubled(max(b.failures, tries) - 1))
	b.err, b.until = err, now.Round(0).Add(max(wait, min(retryAfter, MaxRetryAfter), b.Remaining(now)))
}

// Failures returns how often Failed was called.
func (b *Backoff) Failures() int { return b.failures }

// Pending returns the error of the last failure while it is too early to try again, and
// nil otherwise.
func (b *Backoff) Pending(now time.Time) error {
	if b.Remaining(now) == 0 {
		return nil
	}
	return b.err
}

// Remaining returns how long it is until it may be tried again; 0 if it may.
func (b *Backoff) Remaining(now time.Time) time.Duration {
	return Remaining(b.until, now, MaxRetryAfter)
}

// A Retry paces a loop that tries something until it works. The zero Retry is that of
// one that begins.
type Retry struct {
	failures int
}

// Next notes a failure, and returns how long to wait before the next try. That is twice
// as long as after the last failure. Half of it is left to chance ("equal jitter").
func (r *Retry) Next() time.Duration {
	wait := doubled(r.failures)
	r.failures++
	return wait/2 + jitter(wait/2)
}
