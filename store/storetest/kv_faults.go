package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// faultRows are about what a Shared makes of an engine whose answers are lost.
var faultRows = slices.Concat(refreshFaults, saveFaults, loginFaults)

// A fault is what happens to one operation between a Shared and the engine.
type fault int

const (
	notDone    fault = iota // an error, and nothing was done
	replyLost               // an error, though it was done
	down                    // notDone for this one and the next two
	slow                    // done, and answered after most of the margin
	doneTwice               // a packet came twice; answered as the first one
	retried                 // done again after a lost reply; answered as the second one
	lateByOne               // an error, and done before the next operation
	lateByTwo               // an error, and done before the one after that
	lateForAll              // an error, and done when all is over
	faults                  // how many there are
)

var faultNames = [faults]string{
	"not done", "reply lost", "engine down", "slow", "done twice", "retried by the engine's client", "late by one", "late by two", "late for all",
}

// ofReads says whether a Get can have the fault; the rest are of writes.
func (f fault) ofReads() bool { return f <= slow }

var errFault = errors.New("storetest: the engine cannot be reached")

// A faultyKV is the way of one process to the engine, with a fault in it.
type faultyKV struct {
	store.KV
	fault fault
	at    int    // operation that has it, from 1
	then  func() // what happens right after it; nil: nothing

	mu     sync.Mutex
	n      int
	met    bool // by an operation of this call of the store
	ofRead bool // the first that met it was a Get
	late   func()
	lateAt int // operation before which late is done
}

// next counts an operation and returns its fault, or false if it has none.
func (k *faultyKV) next(read bool) (fault, bool) {
	k.mu.Lock()
	k.n++
	n := k.n
	due := k.late
	if due != nil && n >= k.lateAt {
		k.late = nil
	} else {
		due = nil
	}
	hit := n == k.at && (k.fault.ofReads() || !read) || k.fault == down && n > k.at && n < k.at+3
	if hit && !k.met {
		k.met, k.ofRead = true, read
	}
	k.mu.Unlock()
	if due != nil {
		due()
	}
	return k.fault, hit
}

func (k *faultyKV) Get(ctx context.Context, key string) ([]byte, error) {
	f, hit := k.next(true)
	if !hit {
		return k.KV.Get(ctx, key)
	}
	if f == slow {
		defer time.Sleep(slowFor)
		return k.KV.Get(ctx, key)
	}
	return nil, errFault
}

// slowFor is more than half of the margin, which is what a claim may take.
const slowFor = 600 * time.Millisecond

func (k *faultyKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	f, hit := k.next(false)
	do := func() (bool, error) { return k.KV.CompareAndSwap(ctx, key, old, new) }
	if !hit {
		return do()
	}
	if k.then != nil {
		defer k.then()
	}
	late := func(by int) (bool, error) {
		ctx := context.WithoutCancel(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.lateAt = k.n + by
		k.late = func() { _, _ = k.KV.CompareAndSwap(ctx, key, old, new) }
		return false, errFault
	}
	switch f {
	case replyLost:
		_, _ = do()
	case slow:
		defer time.Sleep(slowFor)
		return do()
	case doneTwice:
		swapped, err := do()
		_, _ = do()
		return swapped, err
	case retried:
		_, _ = do()
		return do()
	case lateByOne:
		return late(1)
	case lateByTwo:
		return late(2)
	case lateForAll:
		return late(1 << 30)
	}
	return false, errFault
}

// land does what is late.
func (k *faultyKV) land() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.late != nil {
		k.late()
		k.late = nil
	}
}
