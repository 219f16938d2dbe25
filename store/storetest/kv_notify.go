package storetest

import (
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// notifyRows are what is expected of a KV that is a store.Notifier; others have nothing to
// show.
var notifyRows = []kvRow{
	{"a swap is told to who waits", "who relies on being told looks once a second, and is served as late", false, func(c *kvCheck) {
		n, ok := c.kv.(store.Notifier)
		if !ok {
			return
		}
		old := kvValue()
		c.mustSwap(c.kv, kvKey(1), nil, old)
		other := c.open()
		w := c.watch(n, kvKey(1))
		defer w.stop()
		for range 3 { // one call may be that with which it begins
			w.mustHear()
			next := kvValue()
			c.mustSwap(other, kvKey(1), old, next)
			w.mustBeTold("of a swap")
			old = next
		}
	}},
	{"watches end", "each wait would take something that nobody gives back", false, func(c *kvCheck) {
		n, ok := c.kv.(store.Notifier)
		if !ok {
			return
		}
		for range 3 {
			var all []*kvWatch
			for i := range 50 { // some may be one too many
				all = append(all, c.watch(n, kvKey(i)))
			}
			for _, w := range all {
				w.stop()
			}
		}
		old := kvValue()
		c.mustSwap(c.kv, kvKey(1), nil, old)
		for began := time.Now(); ; {
			w := c.watch(n, kvKey(1))
			if w.hears != nil {
				w.mustHear()
				c.mustSwap(c.kv, kvKey(1), old, kvValue())
				w.mustBeTold("of a swap")
				w.stop()
				return
			}
			if time.Since(began) > notifyTimeout {
				c.fatalf("no watch is possible any more, %v after all were stopped", notifyTimeout)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}},
}

// notifyTimeout is far more than an engine needs to tell of a swap.
const notifyTimeout = 10 * time.Second

// A kvWatch is a watch being tried.
type kvWatch struct {
	c     *kvCheck
	hears func() bool
	end   func()
	told  chan struct{}
}

func (c *kvCheck) watch(n store.Notifier, key string) *kvWatch {
	w := &kvWatch{c: c, told: make(chan struct{}, 1)}
	w.hears, w.end = n.Watch(key, func() {
		select {
		case w.told <- struct{}{}:
		default:
		}
	})
	if (w.hears == nil) != (w.end == nil) {
		c.fatalf("Watch returned one function and one nil")
	}
	return w
}

func (w *kvWatch) stop() {
	if w.end != nil {
		w.end()
	}
}

// mustHear waits until the engine tells of swaps. It has to say when it begins to: there may
// have been one before.
func (w *kvWatch) mustHear() {
	w.c.t.Helper()
	if w.hears == nil {
		w.c.fatalf("Watch returned nil: not one key can be watched")
	}
	for !w.hears() {
		w.mustBeTold("that swaps are told from now on")
	}
}

func (w *kvWatch) mustBeTold(what string) {
	w.c.t.Helper()
	select {
	case <-w.told:
	case <-time.After(notifyTimeout):
		w.c.fatalf("not told within %v: %s", notifyTimeout, what)
	}
}
