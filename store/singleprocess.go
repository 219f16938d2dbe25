package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// A Storage is plain storage for [SingleProcess]: strings and byte slices, so that
// gomobile can bind one to the Android EncryptedSharedPreferences or to the iOS
// Keychain, and nothing but put and get, which a mounted secret has too.
type Storage interface {
	// Get returns what Put last stored under key, nothing if there was no Put.
	// What cannot be read now, because a device is locked say, is an error.
	Get(key string) (value []byte, err error)

	// Put stores value under key, in place of what is there, in one step: a
	// process that is killed meanwhile leaves the old value or the new one. The
	// value is stored for good when Put returns.
	Put(key string, value []byte) error
}

// SingleProcess makes a [KV] of a plain storage, for programs of which exactly one
// process at a time has that storage: an app on a phone, a service that is deployed
// as one instance. It compares and swaps by reading and writing, one call at a time,
// which no other process notices. Two processes that use one storage this way can
// both spend the same refresh token, and the server then ends the session. Rolling
// deployments run two, and so do mobile apps with an extension or a background
// service. For those take a File, or a KV with a real compare-and-swap.
//
// If the process was killed in the middle of a refresh, the next one waits until that
// request is over: for the session's RefreshTimeout and [SharedOptions.Margin], 30 s by
// default. An app whose user is watching may want less of both.
//
// There must be one SingleProcess for a storage in the process. It is safe for
// concurrent use, and calls s from one goroutine at a time. A call to s that takes
// longer than its context is left to end by itself; later calls wait for it.
//
// It is nil, which [NewShared] refuses, if s is nil.
func SingleProcess(s Storage) KV {
	if s == nil {
		return nil
	}
	return &singleProcess{storage: s, free: make(chan struct{}, 1)}
}

type singleProcess struct {
	storage Storage
	free    chan struct{} // holds one element while a call to storage is under way
}

func (p *singleProcess) Get(ctx context.Context, key string) ([]byte, error) {
	return alone(ctx, p, func() ([]byte, error) { return p.get(key) })
}

func (p *singleProcess) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	return alone(ctx, p, func() (bool, error) {
		have, err := p.get(key)
		if err != nil || (have == nil) != (old == nil) || !bytes.Equal(have, old) {
			return false, err
		}
		err = p.storage.Put(key, new)
		return err == nil, err
	})
}

// get takes an empty value for none: bindings to other languages tell the two apart
// badly, and no record is empty.
func (p *singleProcess) get(key string) ([]byte, error) {
	value, err := p.storage.Get(key)
	if err != nil || len(value) == 0 {
		return nil, err
	}
	return bytes.Clone(value), nil
}

// alone runs do while no other is running, on a goroutine of its own that ends when
// do does: a storage knows no context.
func alone[T any](ctx context.Context, p *singleProcess, do func() (T, error)) (result T, err error) {
	if err := ctx.Err(); err != nil {
		return result, err
	}
	select {
	case p.free <- struct{}{}:
	case <-ctx.Done():
		return result, fmt.Errorf("the storage is busy: %w", ctx.Err())
	}
	type answer struct {
		result T
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		a := answer{err: errors.New("the storage ended its goroutine")}
		defer func() {
			<-p.free
			done <- a
		}()
		defer recovered("Storage", &a.err)
		a.result, a.err = do()
	}()
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return result, fmt.Errorf("the storage did not answer: %w", ctx.Err())
	}
}
