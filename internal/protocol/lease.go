package protocol

import (
	"context"
	"fmt"
	"time"
)

// pollEach: if n keys are waited for, the pauses are n times as long at least, up to pollMax.
const pollEach = 15 * time.Millisecond

// A leaseTurn is the turn of a store in which nothing but the record says who holds
// it. What counts is how long this process has seen the same claim, never a time that
// another one wrote down; so a process that has just started waits for the whole
// length of a claim that may be old.
type leaseTurn struct {
	timing *timing
	waits  *waits
	caller Caller // nil: the medium is none
	key    string

	wait  *wait           // nil: it does not wait
	call  <-chan struct{} // wait's, as it was before the record was read
	claim [16]byte        // write id of the record that is waited for
	since time.Time       // no earlier than when it was first seen

	called bool          // the last pause was ended by a call
	deaf   time.Duration // for how long no call is heard, after some that were for nothing
}

func (t *leaseTurn) Ready(ctx context.Context, r *Record) (bool, error) {
	// The monotonic clock stands still while the machine sleeps. The wait is longer
	// then, which does no harm.
	now, same := t.timing.now(), true
	if t.claim != r.WriteID {
		t.claim, t.since, same = r.WriteID, now, false
	}
	left := r.Hold() - now.Sub(t.since)
	if r.Lease == [16]byte{} || left <= 0 {
		t.End(0) // who holds the key does not look for others
		return true, ctx.Err()
	}
	if t.wait == nil {
		t.wait = t.waits.join(t, t.caller)
		t.call = t.waits.hears(t.wait)
		return false, ctx.Err() // the record may have changed before anybody could call
	}
	if t.called && same {
		t.deaf = min(max(2*t.deaf, pollFirst), pollMax)
	} else {
		t.deaf = 0
	}
	var err error
	if t.called, err = t.pause(ctx, left, now.Sub(t.since)); err != nil {
		return false, fmt.Errorf("%w: %w", errHeld, err)
	}
	t.call = t.waits.hears(t.wait)
	return false, nil
}

// pause waits for a call, or until it is time to look without one.
//
// If the medium calls, once a second will do. One looks for all in this process who wait for
// the same key; the others do so only in case that its looks hang.
func (t *leaseTurn) pause(ctx context.Context, left, waited time.Duration) (called bool, err error) {
	p := share(waited)
	switch looks, calls := t.waits.looks(t, t.wait); {
	case !looks:
		p = 2 * pollMax
	case calls:
		p = pollMax
	}
	p = min(left, t.timing.half(max(p, t.waits.fair())))
	deaf := min(t.deaf, p)
	if err := Sleep(ctx, deaf); err != nil {
		return false, err
	}
	if p == deaf {
		return false, nil
	}
	timer := time.NewTimer(p - deaf)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, nil
	case <-t.call:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (t *leaseTurn) End(time.Duration) {
	if t.wait != nil {
		t.waits.leave(t, t.wait)
		t.wait, t.call, t.called = nil, nil, false
	}
}
