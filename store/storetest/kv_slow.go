package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// The suite judges an engine by what it does and not by how long that takes, for
// which the machine, its disk and whatever else runs there are to blame as well. So an
// operation that is not answered within the time that a Shared gives it is asked
// again, and a case in which the engine was slow counts only if it fails time and
// again. What must never be, however slow, counts at once.

const (
	// operationTimeout is as long as a Shared waits.
	operationTimeout = 5 * time.Second

	// mostLate is how many operations of a row may take longer than that.
	mostLate = 5

	// tooSlow is a quarter of the margin of a hold. Holders need several operations
	// before it is over, and if it is, others rightly take over.
	tooSlow = 250 * time.Millisecond

	// mostTries is how often a case is tried whose engine is slow.
	mostTries = 5
)

// late reports whether err is due to the end of ctx, which has operationTimeout. It
// ends the row on any other error, and when too many were late.
func (c *kvCheck) late(ctx context.Context, op string, err error) bool {
	c.t.Helper()
	if err == nil {
		return false
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.fatalf("%s: %v", op, err)
	}
	if c.lateOnes.Add(1) > mostLate {
		c.fatalf("%s: %v; %d operations took longer than %v", op, err, mostLate+1, operationTimeout)
	}
	c.t.Logf("%s was not answered within %v, when a Shared would have given up: %v", op, operationTimeout, err)
	return true
}

// A caseFunc is one of many cases that a row tries, and has a check of its own. It
// reports whether it failed in a way that no slowness excuses.
type caseFunc func(c *kvCheck) (surely bool)

// fairly runs do, again if it fails while the engine is slow.
func (c *kvCheck) fairly(do caseFunc) {
	c.t.Helper()
	for try := 1; ; try++ {
		w := &witness{TB: c.t}
		own := &kvCheck{
			check:  &check{t: w, h: c.h, address: c.address, why: c.why, store: c.store},
			openKV: c.openKV, thorough: c.thorough,
		}
		own.kv = timedKV{c.kv, own.note}
		surely := false
		done := make(chan struct{})
		go func() { // which Fatalf ends
			defer close(done)
			surely = do(own)
		}()
		<-done
		if len(w.complaints) == 0 {
			return
		}
		if slowest := time.Duration(own.slowest.Load()); !surely && slowest > tooSlow && try < mostTries {
			c.t.Logf("tried again, since the engine took up to %v for an operation: %s", slowest, w.complaints[0])
			continue
		}
		for _, text := range w.complaints {
			c.t.Errorf("%s", text)
		}
		return
	}
}

// note is told how long an operation of the engine took.
func (c *kvCheck) note(took time.Duration) {
	for {
		most := c.slowest.Load()
		if int64(took) <= most || c.slowest.CompareAndSwap(most, int64(took)) {
			return
		}
	}
}

// A timedKV tells how long operations take.
type timedKV struct {
	store.KV
	took func(time.Duration)
}

func (k timedKV) Get(ctx context.Context, key string) ([]byte, error) {
	began := time.Now()
	defer func() { k.took(time.Since(began)) }()
	return k.KV.Get(ctx, key)
}

func (k timedKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	began := time.Now()
	defer func() { k.took(time.Since(began)) }()
	return k.KV.CompareAndSwap(ctx, key, old, new)
}

// A witness is a testing.TB that keeps complaints to itself.
type witness struct {
	testing.TB
	mu         sync.Mutex
	complaints []string
}

func (w *witness) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
}

func (w *witness) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}
