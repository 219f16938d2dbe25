package tokenclient

import (
	"hash/maphash"
	"sync/atomic"
)

const (
	leastSlots = 64
	mostSlots  = 8 // for each entry, before a table shrinks
)

// A table finds entries by key. Readers take no lock, and read two or three lines of
// memory, which is less than a sync.Map does. Writers hold Pool.mu.
//
// A reader may miss an entry while it is put into a larger or smaller table or in the
// place of another one, but never finds one that was not there, and always comes to
// an end: an entry that was moved leads only to others that were moved before. Who
// finds nothing looks again with Pool.mu held.
type table struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]slot] // their number is a power of two
	len   int
}

// A slot holds the first of the entries that belong there; entry.chain leads on.
type slot = atomic.Pointer[entry]

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	t.slots.Store(new(make([]slot, leastSlots)))
	return t
}

func (t *table) load(key string) *entry {
	hash := maphash.String(t.seed, key)
	slots := *t.slots.Load()
	for e := slots[hash&uint64(len(slots)-1)].Load(); e != nil; e = e.chain.Load() {
		if e.hash == hash && e.key == key {
			return e
		}
	}
	return nil
}

// store puts e in, over an entry with the same key, which it returns.
func (t *table) store(e *entry) (old *entry) {
	e.hash = maphash.String(t.seed, e.key)
	if old = t.load(e.key); old != nil {
		t.remove(old)
	}
	link(*t.slots.Load(), e)
	t.len++
	t.resize()
	return old
}

// remove takes e out if it is in.
func (t *table) remove(e *entry) {
	slots := *t.slots.Load()
	at := &slots[e.hash&uint64(len(slots)-1)]
	for at.Load() != e {
		next := at.Load()
		if next == nil {
			return
		}
		at = &next.chain
	}
	at.Store(e.chain.Load()) // e leads on, for readers that are at it
	t.len--
	t.resize()
}

// resize keeps between one and mostSlots slots for each entry.
func (t *table) resize() {
	old := *t.slots.Load()
	size := len(old)
	switch {
	case t.len > size:
		size *= 4
	case size > leastSlots && size > mostSlots*t.len:
		size /= 2
	default:
		return
	}
	slots := make([]slot, size)
	for i := range old {
		for e := old[i].Load(); e != nil; {
			next := e.chain.Load()
			link(slots, e)
			e = next
		}
	}
	t.slots.Store(&slots)
}

func link(slots []slot, e *entry) {
	at := &slots[e.hash&uint64(len(slots)-1)]
	e.chain.Store(at.Load())
	at.Store(e)
}

// all returns the entries, to go on with when Pool.mu is free again.
func (t *table) all() []*entry {
	list := make([]*entry, 0, t.len)
	slots := *t.slots.Load()
	for i := range slots {
		for e := slots[i].Load(); e != nil; e = e.chain.Load() {
			list = append(list, e)
		}
	}
	return list
}
