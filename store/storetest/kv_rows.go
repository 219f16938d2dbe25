package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// kvRows are the expectations of an engine that one process can see.
var kvRows = []kvRow{
	{"absent is nil", "nil alone says that nobody ever logged in", false, func(c *kvCheck) {
		c.want(c.kv, kvKey(1), nil)
		c.mustNotSwap(c.kv, kvKey(1), kvValue(), kvValue(), nil)
	}},
	{"a value is created once", "the first login on two machines would be two sessions, of which one is lost", false, func(c *kvCheck) {
		first := kvValue()
		c.mustSwap(c.kv, kvKey(1), nil, first)
		c.mustNotSwap(c.kv, kvKey(1), nil, kvValue(), first)
		c.mustNotSwap(c.kv, kvKey(1), nil, first, first)
		c.mustNotSwap(c.kv, kvKey(1), []byte{}, kvValue(), first)
	}},
	{"swap only what was read", "who read an older record overwrites a newer refresh token", false, func(c *kvCheck) {
		a, b, d := kvValue(), kvValue(), kvValue()
		c.mustSwap(c.kv, kvKey(1), nil, a)
		c.mustSwap(c.kv, kvKey(1), a, b)
		c.mustNotSwap(c.kv, kvKey(1), a, d, b)
		c.mustNotSwap(c.kv, kvKey(1), d, a, b)
		c.mustNotSwap(c.kv, kvKey(1), a, b, b) // as a swap that is done twice
		c.mustSwap(c.kv, kvKey(1), b, d)
	}},
	{"values are compared to the last byte", "a record that is only like the one that was read would be overwritten", false, func(c *kvCheck) {
		stored := []byte("\x01Value \xff\xfe 10\x00 ")
		c.mustSwap(c.kv, kvKey(1), nil, stored)
		for i := range stored {
			for _, bit := range []byte{0x01, 0x20, 0x80} {
				other := bytes.Clone(stored)
				other[i] ^= bit
				c.mustNotSwap(c.kv, kvKey(1), other, kvValue(), stored)
			}
		}
		for _, other := range [][]byte{
			stored[:len(stored)-1], stored[:len(stored)-2], stored[:1], stored[1:],
			append(bytes.Clone(stored), 0), append(bytes.Clone(stored), ' '), append(bytes.Clone(stored), stored...),
			append([]byte{0}, stored...), append([]byte{' '}, stored...),
			bytes.ToLower(stored), bytes.ToUpper(stored), bytes.ToValidUTF8(stored, []byte("\ufffd")), bytes.TrimSpace(stored),
			[]byte("%"), bytes.ReplaceAll(stored, []byte("V"), []byte("_")),
		} {
			c.mustNotSwap(c.kv, kvKey(1), other, kvValue(), stored)
		}
		long := bytes.Repeat([]byte("0123456789abcdef"), 100<<10/16)
		c.mustSwap(c.kv, kvKey(1), stored, long)
		for _, i := range []int{0, 17, 255, 256, 1024, 4096, 65535, 65536, len(long) - 1} {
			other := bytes.Clone(long)
			other[i] ^= 1
			c.mustNotSwap(c.kv, kvKey(1), other, kvValue(), long)
		}
		c.mustSwap(c.kv, kvKey(1), long, stored)
	}},
	{"values are kept to the letter", "a record that comes back changed does not open", false, func(c *kvCheck) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		random := make([]byte, 100<<10)
		rng := rand.NewChaCha8([32]byte{1})
		_, _ = rng.Read(random)
		var old []byte
		for _, v := range [][]byte{
			{0}, {1}, {' '}, {'\n'}, all, slices.Concat(all, all), []byte("\x01 trailing \x00\x00\x00"), []byte("\x01 spaces   "), []byte("\x01\r\n\x1a"),
			[]byte("\x01\xff\xfe\xc3\x28"), []byte(`\x0141`), []byte(`'";--\'`), []byte("null"), []byte("007"), []byte("1e3"), []byte("true"),
			[]byte("%s%d"), []byte("{{.}}"), []byte("\xef\xbb\xbfx"), []byte("äöü\u0301"), random,
		} {
			c.mustSwap(c.kv, kvKey(1), old, v)
			c.want(c.open(), kvKey(1), v)
			old = v
		}
	}},
	{"keys are apart", "one user would get another's token", false, func(c *kvCheck) {
		keys := []string{
			strings.Repeat("0", 64), strings.Repeat("0", 63) + "1", "1" + strings.Repeat("0", 63), strings.Repeat("0", 31) + "1" + strings.Repeat("0", 32),
			strings.Repeat("f", 64), strings.Repeat("f", 63) + "e", strings.Repeat("1", 62) + "e1", strings.Repeat("1", 61) + "e10",
			kvKey(1), kvKey(2),
		}
		values := make(map[string][]byte)
		for _, k := range keys {
			values[k] = kvValue()
			c.mustSwap(c.kv, k, nil, values[k])
		}
		for i, k := range keys {
			c.want(c.kv, k, values[k])
			c.mustNotSwap(c.kv, k, values[keys[(i+1)%len(keys)]], kvValue(), values[k])
		}
	}},
	{"slices are the caller's", "a caller that goes on with what it read would change the record of everybody", false, func(c *kvCheck) {
		old, next := kvValue(), kvValue()
		mine, stored := bytes.Clone(old), bytes.Clone(next)
		c.mustSwap(c.kv, kvKey(1), nil, old)
		if !c.swap(c.kv, kvKey(1), mine, next) || !bytes.Equal(mine, old) || !bytes.Equal(next, stored) {
			c.errorf("CompareAndSwap: false, or it changed what it was given")
		}
		clear(mine)
		c.want(c.kv, kvKey(1), stored)
		clear(c.get(c.kv, kvKey(1)))
		c.want(c.kv, kvKey(1), stored)
		got := c.get(c.kv, kvKey(1))
		_ = append(got, "more"...)
		c.want(c.kv, kvKey(1), stored)
		third := kvValue()
		c.mustSwap(c.kv, kvKey(1), stored, third)
		if !bytes.Equal(got, stored) {
			c.errorf("a swap changed what Get had returned before")
		}
	}},
	{"two handles are one engine", "two processes would each have a token of their own", false, func(c *kvCheck) {
		other, value := c.open(), kvValue()
		c.mustSwap(c.kv, kvKey(1), nil, value)
		for range 50 {
			c.want(other, kvKey(1), value) // at once
			next := kvValue()
			c.mustNotSwap(other, kvKey(1), next, value, value)
			c.mustSwap(other, kvKey(1), value, next)
			c.kv, other, value = other, c.kv, next
		}
		c.want(c.open(), kvKey(1), value)
	}},
	{"a context that has ended", "what nobody waits for any more would be done behind everybody's back", false, func(c *kvCheck) {
		value := kvValue()
		cancelled, cancel := context.WithCancel(c.ctx())
		cancel()
		expired, cancel := context.WithDeadline(c.ctx(), time.Now().Add(-time.Second))
		defer cancel()
		for _, ctx := range []context.Context{cancelled, expired} {
			if v, err := c.kv.Get(ctx, kvKey(2)); err == nil {
				c.errorf("Get of nothing: %s without an error", show(v))
			}
			if swapped, err := c.kv.CompareAndSwap(ctx, kvKey(2), nil, value); swapped || err == nil {
				c.errorf("CompareAndSwap: %t, error %v; want false and an error", swapped, err)
			}
			c.want(c.kv, kvKey(2), nil)
		}
		c.mustSwap(c.kv, kvKey(2), nil, value)
		for _, ctx := range []context.Context{cancelled, expired} {
			if v, err := c.kv.Get(ctx, kvKey(2)); err == nil {
				c.errorf("Get: %s without an error", show(v))
			}
			if swapped, err := c.kv.CompareAndSwap(ctx, kvKey(2), value, kvValue()); swapped || err == nil {
				c.errorf("CompareAndSwap: %t, error %v; want false and an error", swapped, err)
			}
			c.want(c.kv, kvKey(2), value)
		}
	}},
	{"calls that are cut short", "a slow moment of the engine would end in a hang, or in a record that nobody wrote", false, func(c *kvCheck) {
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() { c.cutShort(kvKey(n), c.scale(50)) })
		}
		wg.Wait()
		// Connections that are not given back are missing now.
		c.mustSwap(c.kv, kvKey(5), nil, kvValue())
	}},
	{"one of many creates", "each further one overwrites a login", false, func(c *kvCheck) {
		handles := []store.KV{c.kv, c.open()}
		for n := range c.scale(20) {
			var winners atomic.Int32
			c.together(8, func(i int) {
				if v := kvValue(); c.swap(handles[i%2], kvKey(n), nil, v) {
					winners.Add(1)
					c.want(handles[(i+1)%2], kvKey(n), v)
				}
			})
			if w := winners.Load(); w != 1 {
				c.fatalf("%d callers were told that they created the value, want one", w)
			}
		}
	}},
	{"no swap is lost", "a lost write is a spent token that looks like a good one", false, func(c *kvCheck) {
		const workers = 8
		handles := []store.KV{c.kv, c.open()}
		times := c.scale(30)
		var known atomic.Uint64 // what was stored before now, at least
		var unsure atomic.Int64
		c.together(workers, func(i int) {
			for range times {
				unsure.Add(int64(c.increment(handles[i%2], kvKey(1), &known)))
			}
		})
		c.wantNumber(workers*times, int(unsure.Load()))
	}},
}

// scale is n, or a tenth of it with -short.
func (c *kvCheck) scale(n int) int {
	if testing.Short() && !c.thorough {
		return max(1, n/10)
	}
	return n
}

// together runs do(0) to do(n-1) at the same time.
func (c *kvCheck) together(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// A counting value has a number in front, and then what tells it from all others.
func kvCount(n uint64) []byte { return append(binary.BigEndian.AppendUint64(nil, n), kvValue()...) }

// kvNumber is 0 for a value that is absent.
func kvNumber(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// increment adds one to the value of key. known may be nil; it is what some Get or
// swap showed already, so that any later Get must show as much. Others increment the
// value, too, so that of a swap that was late increment may not find out whether it
// was done before or after theirs, or not at all: it counts these.
func (c *kvCheck) increment(kv store.KV, key string, known *atomic.Uint64) (unsure int) {
	if known == nil {
		known = new(atomic.Uint64)
	}
	for {
		before := known.Load()
		old := c.get(kv, key)
		n := kvNumber(old)
		if n < before {
			c.fatalf("Get: number %d, though %d was stored before", n, before)
		}
		raise(known, n)
		next := kvCount(n + 1)
		swapped, late := c.swapOnce(kv, key, old, next)
		if swapped {
			raise(known, n+1)
			return unsure
		}
		switch now := c.get(kv, key); {
		case late && bytes.Equal(now, next):
			return unsure
		case late:
			unsure++
		case bytes.Equal(now, next):
			c.fatalf("CompareAndSwap: false, though it stored the value")
		case bytes.Equal(now, old):
			c.fatalf("CompareAndSwap: false, though the value is still the one it was given")
		}
	}
}

// wantNumber checks the number that is stored after want increments. As many more as
// are unsure may have been made.
func (c *kvCheck) wantNumber(want, unsure int) {
	c.t.Helper()
	if n := kvNumber(c.get(c.kv, kvKey(1))); n < uint64(want) || n > uint64(want+unsure) {
		c.errorf("%d; want %d, and up to %d more", n, want, unsure)
	}
}

// raise sets v to n unless it is higher.
func raise(v *atomic.Uint64, n uint64) {
	for {
		have := v.Load()
		if have >= n || v.CompareAndSwap(have, n) {
			return
		}
	}
}

// cutShort swaps the value of key with contexts that end at about the time when the
// call does.
func (c *kvCheck) cutShort(key string, times int) {
	c.t.Helper()
	began := time.Now()
	value := kvValue()
	c.mustSwap(c.kv, key, nil, value)
	usual := time.Since(began)
	tried := [][]byte{value}
	for range times {
		old := c.get(c.kv, key)
		next := kvValue()
		tried = append(tried, next)
		ctx, cancel := context.WithTimeout(c.ctx(), rand.N(usual+1))
		began := time.Now()
		swapped, err := c.kv.CompareAndSwap(ctx, key, old, next)
		cancel()
		if took := time.Since(began); took > operationTimeout {
			c.fatalf("CompareAndSwap took %v, though its context ended after less than %v", took, usual)
		}
		now := c.get(c.kv, key)
		switch {
		case err == nil && swapped && !bytes.Equal(now, next):
			c.fatalf("CompareAndSwap: true, but %s is stored", show(now))
		case err == nil && !swapped && (bytes.Equal(now, next) || bytes.Equal(now, old)):
			c.fatalf("CompareAndSwap: false without an error, though the value was the one it was given")
		case err != nil && swapped:
			c.errorf("CompareAndSwap: true and the error %v", err)
		case !slices.ContainsFunc(tried, func(v []byte) bool { return bytes.Equal(v, now) }):
			c.fatalf("Get: %s, which nobody wrote", show(now))
		}
		ctx, cancel = context.WithTimeout(c.ctx(), rand.N(usual+1))
		v, err := c.kv.Get(ctx, key)
		cancel()
		if err == nil && v == nil {
			c.fatalf("Get with a context that ends: nil without an error, though there is a value")
		}
	}
}

// kvProcessRows are the expectations of an engine that two processes can see.
var kvProcessRows = []kvRow{
	{"a process sees what another swapped", "it would present a token that was exchanged already", false, func(c *kvCheck) {
		other := c.start(kvRole + "swap on")
		other.want("ready")
		value := kvCount(1)
		c.mustSwap(c.kv, kvKey(1), nil, value)
		for n := uint64(2); n < uint64(2*c.scale(50)); n += 2 {
			other.say(fmt.Sprint(n))
			other.want("swapped")
			if value = c.get(c.kv, kvKey(1)); kvNumber(value) != n {
				c.fatalf("Get: number %d after another process stored %d", kvNumber(value), n)
			}
			c.mustSwap(c.kv, kvKey(1), value, kvCount(n+1))
		}
		value = c.get(c.kv, kvKey(1))
		other.kill()
		c.want(c.open(), kvKey(1), value)
	}},
	{"no swap of a process is lost", "a lost write is a spent token that looks like a good one", false, func(c *kvCheck) {
		const processes = 4
		times := c.scale(50)
		unsure := 0
		for _, p := range c.startAll(processes, fmt.Sprintf("%sincrement %d times", kvRole, times)) {
			unsure += p.number("unsure")
			p.end()
		}
		c.wantNumber(processes*times, unsure)
	}},
}
