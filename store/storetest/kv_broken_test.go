//go:build unix

package storetest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// brokenKV is a good engine with some of its methods replaced. What a replacement
// calls is good.
type brokenKV struct {
	*mapKV
	get  func(good *mapKV, ctx context.Context, key string) ([]byte, error)
	swap func(good *mapKV, ctx context.Context, key string, old, new []byte) (bool, error)
	key  func(string) string
}

func (b brokenKV) name(key string) string {
	if b.key != nil {
		return b.key(key)
	}
	return key
}

func (b brokenKV) Get(ctx context.Context, key string) ([]byte, error) {
	if b.get != nil {
		return b.get(b.mapKV, ctx, b.name(key))
	}
	return b.mapKV.Get(ctx, b.name(key))
}

func (b brokenKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if b.swap != nil {
		return b.swap(b.mapKV, ctx, b.name(key), old, new)
	}
	return b.mapKV.CompareAndSwap(ctx, b.name(key), old, new)
}

// alike returns an engine that takes values for the same if fold makes the same of
// them.
func alike(fold func([]byte) []byte) brokenKV {
	return brokenKV{swap: func(good *mapKV, ctx context.Context, key string, old, new []byte) (bool, error) {
		have, err := good.Get(ctx, key)
		if err == nil && have != nil && old != nil && bytes.Equal(fold(have), fold(old)) {
			old = have
		}
		return good.CompareAndSwap(ctx, key, old, new)
	}}
}

// storing returns an engine that makes something else of values.
func storing(change func([]byte) []byte) brokenKV {
	return brokenKV{swap: func(good *mapKV, ctx context.Context, key string, old, new []byte) (bool, error) {
		if old != nil {
			old = change(old)
		}
		return good.CompareAndSwap(ctx, key, old, change(new))
	}}
}

// naming returns an engine that makes something else of keys.
func naming(change func(string) string) brokenKV { return brokenKV{key: change} }

// inTime does do with ctx, as an engine behind a network whose answer takes a
// millisecond; inTime ends with ctx, and whether it was done nobody knows.
func inTime(ctx context.Context, do func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
		time.Sleep(time.Millisecond) // the way back
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// distantly is a swap that takes its time.
func distantly(good *mapKV, ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	result := make(chan bool, 1)
	if err := inTime(ctx, func() {
		swapped, _ := good.CompareAndSwap(context.Background(), key, old, new)
		result <- swapped
	}); err != nil {
		return false, err
	}
	return <-result, nil
}

// always swaps whatever is there.
func always(good *mapKV, ctx context.Context, key string, _, new []byte) (bool, error) {
	for {
		have, err := good.Get(ctx, key)
		if err != nil {
			return false, err
		}
		if swapped, err := good.CompareAndSwap(ctx, key, have, new); swapped || err != nil {
			return swapped, err
		}
	}
}

// racy returns an engine in which others come between the comparison and the swap.
func racy(compare func(old []byte) bool) brokenKV {
	return brokenKV{swap: func(good *mapKV, ctx context.Context, key string, old, new []byte) (bool, error) {
		if !compare(old) {
			return good.CompareAndSwap(ctx, key, old, new)
		}
		have, err := good.Get(ctx, key)
		if err != nil || (have == nil) != (old == nil) || !bytes.Equal(have, old) {
			return false, err
		}
		runtime.Gosched()
		return always(good, ctx, key, old, new)
	}}
}

// cachingKV is a handle that remembers what it read and wrote.
type cachingKV struct {
	*mapKV
	mu   sync.Mutex
	seen map[string][]byte
}

func (c *cachingKV) Get(ctx context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[key] != nil {
		return bytes.Clone(c.seen[key]), ctx.Err()
	}
	return c.mapKV.Get(ctx, key)
}

func (c *cachingKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	swapped, err := c.mapKV.CompareAndSwap(ctx, key, old, new)
	now, _ := c.mapKV.Get(context.Background(), key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[string][]byte)
	}
	c.seen[key] = now
	return swapped, err
}

func upTo(n int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:min(n, len(b))] }
}

// plantedBugs are broken engines, and the row that claims to catch each.
func plantedBugs() map[string]struct {
	row string
	kv  brokenKV
} {
	type ctxt = context.Context
	taken := make(chan struct{}, 8) // connections
	return map[string]struct {
		row string
		kv  brokenKV
	}{
		"absent is empty": {"absent is nil", brokenKV{get: func(good *mapKV, ctx ctxt, key string) ([]byte, error) {
			v, err := good.Get(ctx, key)
			return append([]byte{}, v...), err
		}}},
		"create overwrites": {"a value is created once", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			if old == nil {
				return always(good, ctx, key, old, new)
			}
			return good.CompareAndSwap(ctx, key, old, new)
		}}},
		"an empty value creates": {"a value is created once", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			if have, _ := good.Get(ctx, key); len(old) == 0 {
				old = have
			}
			return good.CompareAndSwap(ctx, key, old, new)
		}}},
		"old is ignored": {"swap only what was read", brokenKV{swap: always}},
		"true though not swapped": {"swap only what was read", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			_, err := good.CompareAndSwap(ctx, key, old, new)
			return err == nil, err
		}}},
		"a swap for the same value is true": {"swap only what was read", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			if have, _ := good.Get(ctx, key); old != nil && bytes.Equal(have, new) {
				return true, nil
			}
			return good.CompareAndSwap(ctx, key, old, new)
		}}},
		"retried, and answered as the second": {"a value is created once", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			_, _ = good.CompareAndSwap(ctx, key, old, new)
			return good.CompareAndSwap(ctx, key, old, new)
		}}},
		"only a prefix is compared":   {"values are compared to the last byte", alike(upTo(65536))},
		"only 17 bytes are compared":  {"values are compared to the last byte", alike(upTo(17))},
		"only the end is compared":    {"values are compared to the last byte", alike(func(b []byte) []byte { return b[len(b)/2:] })},
		"only the length is compared": {"values are compared to the last byte", alike(func(b []byte) []byte { return make([]byte, len(b)) })},
		"letters are compared alike":  {"values are compared to the last byte", alike(bytes.ToLower)},
		"compared as UTF-8":           {"values are compared to the last byte", alike(func(b []byte) []byte { return bytes.ToValidUTF8(b, nil) })},
		"trailing spaces are ignored": {"values are compared to the last byte", alike(func(b []byte) []byte { return bytes.TrimRight(b, " ") })},
		"trailing zeros are ignored":  {"values are compared to the last byte", alike(func(b []byte) []byte { return bytes.TrimRight(b, "\x00") })},
		"compared to the first zero":  {"values are compared to the last byte", alike(func(b []byte) []byte { b, _, _ = bytes.Cut(b, []byte{0}); return b })},
		"trailing zeros are cut":      {"values are kept to the letter", storing(func(b []byte) []byte { return bytes.TrimRight(b, "\x00") })},
		"trailing spaces are cut":     {"values are kept to the letter", storing(func(b []byte) []byte { return bytes.TrimRight(b, " ") })},
		"64 KiB are stored":           {"values are kept to the letter", storing(upTo(65535))},
		"values are UTF-8":            {"values are kept to the letter", storing(func(b []byte) []byte { return bytes.ToValidUTF8(b, []byte("\ufffd")) })},
		"line ends are translated":    {"values are kept to the letter", storing(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) })},
		"backslashes are escapes":     {"values are kept to the letter", storing(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`\x01`), []byte{1}) })},
		"keys are cut":                {"keys are apart", naming(func(k string) string { return k[:min(len(k), 63)] })},
		"the end of keys counts":      {"keys are apart", naming(func(k string) string { return k[max(0, len(k)-63):] })},
		"keys are one":                {"keys are apart", naming(func(string) string { return "key" })},
		"Get returns what is stored": {"slices are the caller's", brokenKV{get: func(good *mapKV, ctx ctxt, key string) ([]byte, error) {
			good.mu.Lock()
			defer good.mu.Unlock()
			return good.values[key], ctx.Err()
		}}},
		"a swap writes into what Get returned": {"slices are the caller's", brokenKV{
			get: func(good *mapKV, ctx ctxt, key string) ([]byte, error) {
				good.mu.Lock()
				defer good.mu.Unlock()
				return good.values[key], ctx.Err()
			},
			swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
				before := good.values[key]
				swapped, err := good.CompareAndSwap(ctx, key, old, new)
				if swapped && before != nil {
					copy(before, new)
				}
				return swapped, err
			},
		}},
		"old is used as a buffer": {"slices are the caller's", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			defer clear(old)
			return good.CompareAndSwap(ctx, key, old, new)
		}}},
		"contexts are ignored": {"a context that has ended", brokenKV{
			get: func(good *mapKV, _ ctxt, key string) ([]byte, error) { return good.Get(context.Background(), key) },
			swap: func(good *mapKV, _ ctxt, key string, old, new []byte) (bool, error) {
				return good.CompareAndSwap(context.Background(), key, old, new)
			},
		}},
		"nil for errors": {"a context that has ended", brokenKV{get: func(good *mapKV, ctx ctxt, key string) ([]byte, error) {
			v, err := good.Get(ctx, key)
			if err != nil {
				return nil, nil
			}
			return v, nil
		}}},
		"false for errors": {"a context that has ended", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			swapped, _ := good.CompareAndSwap(ctx, key, old, new)
			return swapped, nil
		}}},
		"swapped in spite of the error": {"a context that has ended", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			_, _ = good.CompareAndSwap(context.Background(), key, old, new)
			return false, context.Canceled
		}}},
		"a connection is lost at each deadline": {"calls that are cut short", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			select {
			case taken <- struct{}{}:
			case <-ctx.Done():
				return false, ctx.Err()
			}
			swapped, err := distantly(good, ctx, key, old, new)
			if err == nil {
				<-taken
			}
			return swapped, err
		}}},
		"false at the deadline": {"calls that are cut short", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			swapped, _ := distantly(good, ctx, key, old, new)
			return swapped, nil
		}}},
		"true at the deadline": {"calls that are cut short", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			if inTime(ctx, func() {}) != nil {
				return true, nil
			}
			return good.CompareAndSwap(ctx, key, old, new)
		}}},
		"tried again by itself at the deadline": {"calls that are cut short", brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
			swapped, err := distantly(good, ctx, key, old, new)
			if err != nil {
				return good.CompareAndSwap(context.Background(), key, old, new)
			}
			return swapped, nil
		}}},
		"nil at the deadline": {"calls that are cut short", brokenKV{get: func(good *mapKV, ctx ctxt, key string) ([]byte, error) {
			if inTime(ctx, func() {}) != nil {
				return nil, nil
			}
			return good.Get(ctx, key)
		}, swap: distantly}},
		"creating is not atomic": {"one of many creates", racy(func(old []byte) bool { return old == nil })},
		"swapping is not atomic": {"no swap is lost", racy(func(old []byte) bool { return old != nil })},
		"a Get is late now and then": {"no swap is lost", func() brokenKV {
			var mu sync.Mutex
			var last []byte
			n := 0
			return brokenKV{get: func(good *mapKV, ctx ctxt, key string) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				if n++; n%10 == 0 {
					return last, nil
				}
				v, err := good.Get(ctx, key)
				last = v
				return v, err
			}}
		}()},
		"false now and then": {"no swap is lost", func() brokenKV {
			var mu sync.Mutex
			n := 0
			return brokenKV{swap: func(good *mapKV, ctx ctxt, key string, old, new []byte) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				if n++; n%20 == 0 {
					return false, nil
				}
				return good.CompareAndSwap(ctx, key, old, new)
			}}
		}()},
		"late swaps find a place":       {"faults in a refresh", brokenKV{swap: always}},
		"and in a save":                 {"faults in a save of a late pair", brokenKV{swap: always}},
		"and in one that is lost":       {"faults in a refresh whose request is lost", brokenKV{swap: always}},
		"and in one that sends nothing": {"faults in a refresh that sends nothing", brokenKV{swap: always}},
		"and in a login":                {"faults in a login", brokenKV{swap: always}},
		"a tombstone is not stored":     {"faults in a refresh that is refused", losing},
		"a logout is not stored":        {"faults in a logout", losing},
		"nor is one in between":         {"a logout after a login whose reply is lost", losing},
	}
}

// losing loses what is as short as a tombstone.
var losing = brokenKV{swap: func(good *mapKV, ctx context.Context, key string, old, new []byte) (bool, error) {
	if len(new) < 80 {
		return true, nil
	}
	return good.CompareAndSwap(ctx, key, old, new)
}}

func TestRowsCatchBrokenKVs(t *testing.T) {
	rows := slices.Concat(kvRows, notifyRows, faultRows)
	missing := map[string]bool{"two handles are one engine": false, "a swap is told to who waits": false, "watches end": false} // below
	for _, row := range rows {
		if _, ok := missing[row.name]; !ok {
			missing[row.name] = true
		}
	}
	catches := func(t *testing.T, name string, open func(testing.TB, string) store.KV) {
		for _, row := range rows {
			if row.name == name && !failing(t, func(t testing.TB) { tryThoroughly(t, row, open, "") }) {
				t.Errorf("the row %q let a broken engine pass", name)
			}
		}
	}
	for bug, planted := range plantedBugs() {
		missing[planted.row] = false
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			planted.kv.mapKV = newMapKV()
			catches(t, planted.row, func(testing.TB, string) store.KV { return planted.kv })
		})
	}
	for row, is := range missing {
		if is {
			t.Errorf("no broken engine for the row %q", row)
		}
	}
	t.Run("handles that cache", func(t *testing.T) {
		m := newMapKV()
		catches(t, "two handles are one engine", func(testing.TB, string) store.KV { return &cachingKV{mapKV: m} })
	})
	t.Run("handles apart", func(t *testing.T) {
		catches(t, "two handles are one engine", func(testing.TB, string) store.KV { return newMapKV() })
	})
}

// tellingKV tells of swaps: of none, if lost, and with a bound on watches that are never given
// back, if left is not nil. It begins to when it is asked for the first time, and does not say
// so, if silent.
type tellingKV struct {
	*mapKV
	lost, silent bool
	left         *atomic.Int32

	mu      sync.Mutex
	watches map[int]func()
	n       int
}

func (k *tellingKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	swapped, err := k.mapKV.CompareAndSwap(ctx, key, old, new)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, changed := range k.watches {
		if swapped && !k.lost {
			changed()
		}
	}
	return swapped, err
}

func (k *tellingKV) Watch(_ string, changed func()) (hears func() bool, stop func()) {
	if k.left != nil && k.left.Add(-1) < 0 {
		return nil, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.watches == nil {
		k.watches = make(map[int]func())
	}
	k.n++
	n := k.n
	k.watches[n] = changed
	var begun atomic.Bool
	hears = func() bool {
		before := begun.Swap(true)
		if !before && !k.silent {
			changed()
		}
		return before
	}
	return hears, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.watches, n)
	}
}

// TestNotifierRows: they pass with an engine that tells, and not with one that does not, or
// that uses up what it needs.
func TestNotifierRows(t *testing.T) {
	left := new(atomic.Int32)
	left.Store(16)
	for name, c := range map[string]struct {
		kv  *tellingKV
		bad string
	}{
		"good":         {&tellingKV{}, ""},
		"tells never":  {&tellingKV{lost: true}, "a swap is told to who waits"},
		"begins later": {&tellingKV{silent: true}, "a swap is told to who waits"},
		"used up":      {&tellingKV{left: left}, "watches end"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, row := range notifyRows {
					c.kv.mapKV = newMapKV()
					failed := failing(t, func(t testing.TB) {
						tryThoroughly(t, row, func(testing.TB, string) store.KV { return c.kv }, "")
					})
					if want := row.name == c.bad; failed != want && (want || c.bad == "") {
						t.Errorf("the row %q failed: %v, want %v", row.name, failed, want)
					}
				}
			})
		})
	}
}

func tryThoroughly(t testing.TB, row kvRow, open func(testing.TB, string) store.KV, address string) {
	c := row.check(t, open, address)
	c.thorough = true
	row.run(c)
}

// unlockedKV is a folderKV that forgot that there are other processes.
type unlockedKV struct{ folderKV }

func (u unlockedKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	have, err := u.read(key)
	if err != nil || (have == nil) != (old == nil) || !bytes.Equal(have, old) || ctx.Err() != nil {
		return false, err
	}
	time.Sleep(time.Millisecond) // others come in between
	return true, os.WriteFile(filepath.Join(u.path, key), new, 0o600)
}

// bufferingKV keeps what it is given until it is closed, which a process that is
// killed does not do.
type bufferingKV struct {
	folderKV
	own *mapKV
}

func (b bufferingKV) Get(ctx context.Context, key string) ([]byte, error) {
	if v, err := b.own.Get(ctx, key); v != nil || err != nil {
		return v, err
	}
	return b.folderKV.Get(ctx, key)
}

func (b bufferingKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	have, err := b.Get(ctx, key)
	if err != nil || (have == nil) != (old == nil) || !bytes.Equal(have, old) {
		return false, err
	}
	return always(b.own, ctx, key, old, new)
}

// The rows with processes run with tests of their own names, since these are what
// the children run.

func TestProcessRowsCatchUnlockedKV(t *testing.T) {
	catchInProcesses(t, func(_ testing.TB, address string) store.KV { return unlockedKV{folderKV{address}} }, "no swap of a process is lost")
}

func TestProcessRowsCatchBufferingKV(t *testing.T) {
	catchInProcesses(t, func(_ testing.TB, address string) store.KV {
		kv := folderKV{address}
		if os.Getenv(envRole) == "" {
			return kv
		}
		return bufferingKV{kv, newMapKV()}
	}, "a process sees what another swapped", "killed anywhere in a refresh", "stopped anywhere in a refresh")
}

func catchInProcesses(t *testing.T, open func(testing.TB, string) store.KV, names ...string) {
	if role := os.Getenv(envRole); role != "" {
		kvChild(t, open(t, os.Getenv(envAddress)), role[len(kvRole):])
		return
	}
	for _, row := range slices.Concat(kvProcessRows, killRows) {
		if !slices.Contains(names, row.name) {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			if !failing(t, func(tb testing.TB) { tryThoroughly(tb, row, open, t.TempDir()) }) {
				t.Error("the row let a broken engine pass")
			}
		})
	}
}
