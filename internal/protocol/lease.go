package protocol

import (
	"context"
	"fmt"
	"time"
)

const (
	// pollEach: if n keys are waited for, the pauses are n times as long at least, up to pollMax.
	pollEach = 15 * time.Millisecond

	// pollCaller: the pauses are as long at least, but for chance, if the medium is a [Caller].
	pollCaller = 20 * time.Millisecond
)

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
		var calls bool
		if t.wait, t.call, calls = t.waits.join(t, t.caller); calls {
			return false, ctx.Err()
		}
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
// If the medium calls, once a second will do. Little of that is left to chance: the sooner
// each of many processes looks, the more they look. A medium that does not call yet is about
// to, and the first looks can wait for that. One looks for all in this process who wait for
// the same key; the others do so only in case that its looks hang.
func (t *leaseTurn) pause(ctx context.Context, left, waited time.Duration) (called bool, err error) {
	p, part := share(waited), time.Duration(2)
	switch looks, calls, hears := t.waits.looks(t, t.wait); {
	case !looks:
		p = 2 * pollMax
	case hears:
		p, part = pollMax, 8
	case calls:
		p = max(p, pollCaller)
	}
	p = max(p, t.waits.fair())
	p = min(left, p-p/part+t.timing.jitter(p/part))
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
