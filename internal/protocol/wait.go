package protocol

import (
	"context"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/chance"
)

// patienceLimit is how long something that fails is tried again, while somebody
// waits for it.
const patienceLimit = 5 * time.Second

// A timing says what time it is, and what is left to chance. Tests have one that makes
// their runs the same each time; a nil one is that of the machine.
type timing struct {
	clock  func() time.Time
	chance func(below time.Duration) time.Duration
}

func (t *timing) now() time.Time {
	if t == nil {
		return time.Now()
	}
	return t.clock()
}

// jitter returns a random duration below d.
func (t *timing) jitter(d time.Duration) time.Duration {
	if t == nil {
		return chance.Below(d)
	}
	return t.chance(d)
}

// elapsed is how much time may have passed since then. The monotonic clock stops
// while the machine sleeps, and the wall clock can be set; so it is the longer of
// the two, and ok is false if the wall clock went back, when nothing is known.
func (t *timing) elapsed(then time.Time) (d time.Duration, ok bool) {
	now := t.now()
	wall := now.Round(0).Sub(then.Round(0))
	return max(now.Sub(then), wall), wall >= 0
}

// Sleep waits for d, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		// A timer that is due when it is made crashes the race detector in a bubble of
		// testing/synctest (golang/go#78156), and costs more than nothing elsewhere.
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	pollFirst = time.Millisecond
	pollMax   = time.Second
	pollShare = 10 // a pause is a tenth of what has been waited for
)

// Share returns how long to wait for the next look at what another process does, and what
// has been waited for so far: a tenth of that, between a millisecond and a second. Who waits
// for long does so because it takes long, and will not mind a tenth more. Half of it is left
// to chance, lest many processes look together.
func Share(waited time.Duration) time.Duration { return (*timing)(nil).half(share(waited)) }

func share(waited time.Duration) time.Duration {
	return min(max(waited/pollShare, pollFirst), pollMax)
}

// half returns d, half of which is left to chance.
func (t *timing) half(d time.Duration) time.Duration { return d/2 + t.jitter(d/2) }

// A Backoff is a delay that doubles from 5 to 100 ms. Half of it is left to
// chance, lest those who wait for the same thing come back together.
type Backoff struct {
	timing *timing
	last   time.Duration
}

// Next returns how long to wait before the next try.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, 5*time.Millisecond), 100*time.Millisecond)
	return b.timing.half(b.last)
}

// patience paces what is tried again and says when to give up. It begins
// with its first use.
type patience struct {
	Backoff
	until time.Time
}

func (e *Engine) patience() *patience { return &patience{Backoff: Backoff{timing: e.timing}} }

// wait waits for the next try. It is false if there should be none.
func (p *patience) wait(ctx context.Context) bool {
	if p.until.IsZero() {
		p.until = time.Now().Add(patienceLimit)
	}
	d := p.Next()
	return time.Until(p.until) > d && Sleep(ctx, d) == nil
}
