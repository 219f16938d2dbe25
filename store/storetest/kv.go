package storetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// RunKV tests an engine: whether it reads, compares and swaps as [store.KV] demands,
// whether it tells of swaps if it is a [store.Notifier], and whether a [store.Shared] over it keeps what it promises.
//
// make makes an empty place in the engine for one subtest, say a table or a prefix of
// keys, and returns its address, which is all that open gets to know in another process.
// It cleans up by t.Cleanup. An empty address says that the engine lives in this process
// alone: open then opens what make left in a variable, and what takes several processes is
// left out.
//
// open opens the place at address. It is called several times for one address, and
// the results must behave as one engine. It closes by t.Cleanup what it opened. It is
// called in child processes, too: those run the test binary again, with the arguments
// that select this test, and everything before RunKV in that test is executed there
// as well. So a server that the tests need is started only if STORETEST_ROLE is not
// set in the environment, and where it listens is part of the address.
//
// RunKV must be called from a top-level test or a subtest whose name can be selected
// with -test.run. Some of its subtests run in parallel, so that test cannot call
// t.Setenv. It takes some ten seconds, most of which it waits; with -short it takes a
// tenth of the faults, kills and large numbers.
//
// An engine is judged by what it does. What it does not answer within the 5 seconds that
// a Shared gives it is asked again, and what fails while it is slow is tried again, a few
// times; the log says so.
func RunKV(t *testing.T, open func(t testing.TB, address string) store.KV, make func(t *testing.T) (address string)) {
	role := os.Getenv(envRole)
	if role, ok := strings.CutPrefix(role, kvRole); ok {
		kvChild(t, open(t, os.Getenv(envAddress)), role)
		return
	}
	if role == "" {
		all := slices.Concat(kvRows, notifyRows, faultRows)
		if make(t) != "" {
			all = slices.Concat(all, kvProcessRows, killRows)
		}
		t.Run("KV", func(t *testing.T) {
			for _, row := range all {
				t.Run(row.name, func(t *testing.T) {
					c := row.check(t, open, make(t))
					if row.waits {
						t.Parallel()
					}
					row.run(c)
				})
			}
		})
	}
	t.Run("Shared", func(t *testing.T) {
		Run(t, Harness{
			Make: make,
			Open: func(t testing.TB, address string) tokenclient.Store { return shared(t, open(t, address)) },
		})
	})
}

// shared returns a Shared with the shortest hold.
func shared(t testing.TB, kv store.KV) *store.Shared {
	t.Helper()
	s, err := store.NewShared(kv, store.Plaintext(), &store.SharedOptions{Margin: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A kvRow is one expectation of a KV.
type kvRow struct {
	name  string
	why   string
	waits bool // most of the time; it opens no more than one handle then
	run   func(c *kvCheck)
}

func (r kvRow) check(t testing.TB, open func(testing.TB, string) store.KV, address string) *kvCheck {
	t.Helper()
	c := &kvCheck{check: &check{t: t, address: address, why: r.why}, openKV: open}
	c.kv = c.open()
	return c
}

// kvCheck is a kvRow being tried.
type kvCheck struct {
	*check
	openKV   func(testing.TB, string) store.KV
	kv       store.KV
	thorough bool         // even with -short
	lateOnes atomic.Int32 // operations that were not answered in time
	slowest  atomic.Int64 // operation of a case of fairly's, in nanoseconds
}

func (c *kvCheck) open() store.KV { return c.openKV(c.t, c.address) }

// get returns the value of key and ends the row on an error.
func (c *kvCheck) get(kv store.KV, key string) []byte {
	c.t.Helper()
	for {
		ctx, cancel := context.WithTimeout(c.ctx(), operationTimeout)
		value, err := kv.Get(ctx, key)
		late := c.late(ctx, "Get", err)
		cancel()
		if !late {
			return value
		}
	}
}

// swapOnce makes one swap and ends the row on an error. If it was late, nobody knows what
// became of it.
func (c *kvCheck) swapOnce(kv store.KV, key string, old, new []byte) (swapped, late bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx(), operationTimeout)
	defer cancel()
	swapped, err := kv.CompareAndSwap(ctx, key, old, new)
	return swapped, c.late(ctx, "CompareAndSwap", err)
}

// swap is swapOnce until it is known what became of it, as long as nobody writes new but
// this caller, and nobody writes over it meanwhile.
func (c *kvCheck) swap(kv store.KV, key string, old, new []byte) bool {
	c.t.Helper()
	for {
		swapped, late := c.swapOnce(kv, key, old, new)
		if !late {
			return swapped
		}
		if now := c.get(kv, key); !sameValue(now, old) {
			return sameValue(now, new)
		}
	}
}

// sameValue compares values, of which nil is none.
func sameValue(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// mustSwap ends the row unless old was swapped for new and is read back.
func (c *kvCheck) mustSwap(kv store.KV, key string, old, new []byte) {
	c.t.Helper()
	if !c.swap(kv, key, old, new) {
		c.fatalf("CompareAndSwap from %s to %s: false, though that is what was stored", show(old), show(new))
	}
	c.want(kv, key, new)
}

// mustNotSwap checks that old is not what is stored, and that nothing changes.
func (c *kvCheck) mustNotSwap(kv store.KV, key string, old, new, stored []byte) {
	c.t.Helper()
	swapped, late := c.swapOnce(kv, key, old, new)
	for late {
		swapped, late = c.swapOnce(kv, key, old, new)
	}
	if swapped {
		c.errorf("CompareAndSwap from %s to %s: true, though %s was stored", show(old), show(new), show(stored))
	}
	c.want(kv, key, stored)
}

// want checks what is stored.
func (c *kvCheck) want(kv store.KV, key string, want []byte) {
	c.t.Helper()
	if got := c.get(kv, key); !sameValue(got, want) {
		c.fatalf("Get: %s; want %s", show(got), show(want))
	}
}

// show is a value in a message. The ends tell most values apart.
func show(b []byte) string {
	switch {
	case b == nil:
		return "nil"
	case len(b) > 64:
		return fmt.Sprintf("%d bytes %q…%q", len(b), b[:24], b[len(b)-24:])
	}
	return fmt.Sprintf("%q", b)
}

// kvKey returns the n-th key, in the form that a Shared gives them.
func kvKey(n int) string { return fmt.Sprintf("%048x%016x", 0xabcdef<<12, n) }

var kvValues atomic.Int64

// kvValue returns a value that no other call returns.
func kvValue() []byte {
	return fmt.Appendf(nil, "\x01value %d of process %d", kvValues.Add(1), os.Getpid())
}
