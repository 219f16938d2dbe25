package protocol

import (
	"context"
	"fmt"
	"time"
)

const (
	pollFirst = 50 * time.Millisecond
	pollMax   = time.Second
)

// A leaseTurn is the turn of a store in which nothing but the record says who holds
// it. What counts is how long this process has seen the same claim, never a time that
// another one wrote down; so a process that has just started waits for the whole
// length of a claim that may be old.
type leaseTurn struct {
	timing *timing
	claim  [16]byte  // write id of the record that is waited for
	since  time.Time // no earlier than when it was first seen
	poll   time.Duration
}

func (t *leaseTurn) Ready(ctx context.Context, r *Record) (bool, error) {
	if r.Lease == [16]byte{} {
		return true, ctx.Err()
	}
	// The monotonic clock stands still while the machine sleeps. The wait is longer
	// then, which does no harm.
	now := t.timing.now()
	if t.claim != r.WriteID {
		t.claim, t.since = r.WriteID, now
	}
	left := r.Hold() - now.Sub(t.since)
	if left <= 0 {
		return true, ctx.Err()
	}
	t.poll = min(max(2*t.poll, pollFirst), pollMax)
	if err := Sleep(ctx, min(left, t.poll/2+t.timing.jitter(t.poll/2))); err != nil {
		return false, fmt.Errorf("%w: %w", errHeld, err)
	}
	return false, nil
}

func (*leaseTurn) End() {}
