package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// A KV is what [Shared] needs of an engine: a register for each key that can be read
// and compared and swapped. A type that implements it in a few lines over a client
// that the program already has is all it takes to share tokens through another
// engine; run storetest.RunKV against it.
//
// Keys are 64 characters, digits and lower-case letters from a to f, whatever the
// program's own keys look like. Values are never empty, are whole records of some
// hundred bytes to some ten KiB with any bytes in them, and are sealed; no two writes
// share one. Records are never deleted by this package.
//
// Get and CompareAndSwap must be linearizable over all processes: a Get that begins
// after a CompareAndSwap returned true sees its value or a later one. So they must
// not be answered by a replica or a cache.
//
// They must honour ctx, whose deadline is seconds away, and may be called
// concurrently. Implementations change neither old nor new, and may keep new; what
// Get returned belongs to the caller.
//
// Their errors become part of those of requests, and should name neither a host nor a user of
// the engine. What errors of packages net and crypto/x509 say of them is left out of the text.
type KV interface {
	// Get returns the value of key, nil if there is none. An engine that cannot
	// be asked is an error, never nil: nil means that nobody ever logged in.
	Get(ctx context.Context, key string) (value []byte, err error)

	// CompareAndSwap stores new as the value of key if the value is exactly old,
	// and reports whether it did. A nil old says that there is no value yet.
	//
	// After an error nobody knows whether the value was stored, or will be a
	// moment later. Shared then finds out with Get. So an implementation need not,
	// and must not, try again by itself after a reply was lost.
	CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error)
}

// A Notifier is a [KV] whose engine can tell that a value has changed. Who waits for a refresh
// of another process is then woken at once, and need not ask for the value again and again.
// It is asked for once a second all the same: a notification may get lost.
type Notifier interface {
	KV

	// Watch has changed called soon after the value of key has changed, in whatever process
	// that was, until stop is called. It may be called too often, too late, concurrently, and
	// before Watch has returned; it does not wait. What Watch has started ends soon after stop.
	//
	// hears reports whether changes are heard of at this moment. While they are not (the
	// connection that tells of them is not there yet, or broke) the value is asked for as often
	// as with any other KV, but every 10 milliseconds at most. When they are heard of for the
	// first time, or again, changed is called as soon as hears says so: a change may have come
	// before.
	//
	// Neither Watch nor hears nor stop may wait. Who cannot watch one key more returns nil and
	// nil: then the value is asked for.
	Watch(key string, changed func()) (hears func() bool, stop func())
}

// kvMedium is a KV as a medium. An operation that takes too long is given up: a network
// that swallows packets would otherwise hold up a refresh for as long as the kernel
// tries, which is a quarter of an hour, though the engine is back by then.
type kvMedium struct{ kv KV }

func (m kvMedium) Where(key string) string { return "record " + kvKey(key) }

// kvKey is the key under which an engine knows the record of key. Thus a program's
// key may have any characters and length, however an engine folds, pads or limits
// its own, and is not told to those who run the engine.
func kvKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func (m kvMedium) Get(ctx context.Context, key string) (value []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.OperationTimeout)
	defer cancel()
	defer recovered("KV.Get", &err)
	value, err = m.kv.Get(ctx, kvKey(key))
	return value, withoutVerdict(withoutPlace(err))
}

func (m kvMedium) CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.OperationTimeout)
	defer cancel()
	defer recovered("KV.CompareAndSwap", &err)
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
	}
	swapped, err = m.kv.CompareAndSwap(ctx, kvKey(key), old, new)
	return swapped, withoutVerdict(withoutPlace(err))
}

// Call has changed called after changes of key, if the engine can tell. One that panics
// cannot: who waits asks.
func (m kvMedium) Call(key string, changed func()) (hears func() bool, stop func()) {
	n, ok := m.kv.(Notifier)
	if !ok {
		return nil, nil
	}
	defer func() { _ = recover() }()
	heard, end := n.Watch(kvKey(key), changed)
	if heard != nil {
		hears = func() bool {
			defer func() { _ = recover() }()
			return heard()
		}
	}
	if end != nil {
		stop = func() {
			defer func() { _ = recover() }()
			end()
		}
	}
	return hears, stop
}

// recovered turns the panic of a KV into an error: a new pair may be on its way into
// the store, and the next try may work.
func recovered(op string, err *error) {
	if p := recover(); p != nil {
		*err = panicError(op, p)
	}
}
