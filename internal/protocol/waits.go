package protocol

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Caller is a [Medium] that hears of changes, so that who waits for one need not look
// for it again and again.
type Caller interface {
	// Call has changed called soon after changes of key, until stop is called. Changes may go
	// by without a call, and there may be calls without a change: nothing is known but what
	// Get says. hears reports whether calls are to be expected at this moment; when they are
	// for the first time, changed is called. Call, hears and stop must not wait. hears and stop
	// nil: there is no way to hear of changes.
	Call(key string, changed func()) (hears func() bool, stop func())
}

// waits are the keys that refreshes of one engine wait for.
type waits struct {
	n atomic.Int32 // keys

	mu   sync.Mutex // guards what follows, and what is in each wait
	keys map[string]*wait
}

// A wait is one key, and those who wait for it.
type wait struct {
	waiters int
	looker  *leaseTurn    // who looks at the medium for all; nil: whoever is the next to pause
	claim   [16]byte      // write id of the newest record that anybody has read
	call    chan struct{} // closed when there may be another, and made anew
	calls   func() bool   // whether the medium calls; nil: it does not
	stop    func()        // the calls; nil: there are none
}

// join makes t one of those who wait for its key. It returns what is closed at the next call,
// and whether the medium calls: then the record has to be read again before t waits, because it
// may have changed before anybody could call. A medium that begins to call later calls then.
func (w *waits) join(t *leaseTurn, c Caller) (k *wait, call <-chan struct{}, calls bool) {
	w.mu.Lock()
	k = w.keys[t.key]
	first := k == nil
	if first {
		k = &wait{call: make(chan struct{}), claim: t.claim}
		if w.keys == nil {
			w.keys = make(map[string]*wait)
		}
		w.keys[t.key] = k
		w.n.Add(1)
	}
	k.waiters++
	call, hears := k.call, k.calls
	w.mu.Unlock()
	if first && c != nil {
		var stop func()
		hears, stop = c.Call(t.key, func() { w.changed(k) })
		w.mu.Lock()
		k.calls, k.stop = hears, stop
		w.mu.Unlock()
	}
	return k, call, hears != nil && hears()
}

// leave undoes join.
func (w *waits) leave(t *leaseTurn, k *wait) {
	w.mu.Lock()
	stop := func() {}
	if k.looker == t {
		k.looker = nil
		k.renewLocked()
	}
	if k.waiters--; k.waiters == 0 {
		delete(w.keys, t.key)
		w.n.Add(-1)
		if k.stop != nil {
			stop = k.stop
		}
	}
	w.mu.Unlock()
	stop()
}

// hears returns what is closed at the next call. To be asked before the record is read.
func (w *waits) hears(k *wait) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return k.call
}

// changed calls all who wait for k.
func (w *waits) changed(k *wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k.renewLocked()
}

// saw is told which record of key was read, and calls those who wait for another one.
func (w *waits) saw(key string, id [16]byte) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.keys[key]; k != nil && k.claim != id {
		k.claim = id
		k.renewLocked()
	}
}

func (k *wait) renewLocked() {
	close(k.call)
	k.call = make(chan struct{})
}

// looks reports whether t is the one who looks at the medium for all who wait for k, whether
// the medium calls, and whether it is heard at this moment, so that nobody need look often.
func (w *waits) looks(t *leaseTurn, k *wait) (looks, calls, hears bool) {
	w.mu.Lock()
	if k.looker == nil {
		k.looker = t
	}
	looks, heard := k.looker == t, k.calls
	w.mu.Unlock()
	return looks, heard != nil, heard != nil && heard()
}

// fair is the shortest pause between two looks at one key, so that all together are not too
// many a second: about 90; but no key waits for longer than a single one ever does.
func (w *waits) fair() time.Duration {
	if n := w.n.Load(); n > 1 {
		return min(time.Duration(n)*pollEach, pollMax)
	}
	return 0
}
