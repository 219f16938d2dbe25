package store_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
)

// A mapStorage is a Storage without a lock, as SingleProcess calls it from one
// goroutine at a time.
type mapStorage struct {
	values map[string][]byte
	before func(op string) // nil: nothing
	active atomic.Int32
}

func (m *mapStorage) call(op string) (leave func()) {
	if m.active.Add(1) != 1 {
		panic("two calls at one time")
	}
	leave = func() { m.active.Add(-1) }
	if m.before != nil {
		defer func() {
			if p := recover(); p != nil {
				leave()
				panic(p)
			}
		}()
		m.before(op)
	}
	return leave
}

func (m *mapStorage) Get(key string) ([]byte, error) {
	defer m.call("get")()
	return m.values[key], nil
}

func (m *mapStorage) Put(key string, value []byte) error {
	defer m.call("put")()
	if m.values == nil {
		m.values = make(map[string][]byte)
	}
	m.values[key] = value
	return nil
}

func TestSingleProcessConformance(t *testing.T) {
	var kv store.KV
	storetest.RunKV(t, func(testing.TB, string) store.KV { return kv }, func(*testing.T) string {
		kv = store.SingleProcess(&mapStorage{})
		return ""
	})
}

// TestSingleProcessEmptyIsAbsent: bindings to other languages have no nil slices, or
// nothing else.
func TestSingleProcessEmptyIsAbsent(t *testing.T) {
	kv := store.SingleProcess(&mapStorage{values: map[string][]byte{"k": {}}})
	if v, err := kv.Get(t.Context(), "k"); v != nil || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if swapped, err := kv.CompareAndSwap(t.Context(), "k", []byte{}, []byte("x")); swapped || err != nil {
		t.Errorf("an empty value was found: %t, %v", swapped, err)
	}
	if swapped, err := kv.CompareAndSwap(t.Context(), "k", nil, []byte("x")); !swapped || err != nil {
		t.Errorf("no value was not found: %t, %v", swapped, err)
	}
}

func TestSingleProcessHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		s := &mapStorage{before: func(string) { <-goOn }}
		kv := store.SingleProcess(s)
		start := time.Now()
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := kv.Get(ctx, "k")
			wantErr(t, err, context.DeadlineExceeded)
			if d := time.Since(start); d != time.Duration(i+1)*time.Second {
				t.Errorf("call %d returned after %v", i, d)
			}
		}
		close(goOn)
		if v, err := kv.Get(t.Context(), "k"); v != nil || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	})
}

// TestSingleProcessLatePut: a Put whose caller has left is done before whatever is
// asked later.
func TestSingleProcessLatePut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		s := &mapStorage{before: func(op string) {
			if op == "put" {
				<-goOn
			}
		}}
		kv := store.SingleProcess(s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		swapped, err := kv.CompareAndSwap(ctx, "k", nil, []byte("late"))
		wantErr(t, err, context.DeadlineExceeded)
		if swapped {
			t.Error("true and an error")
		}
		time.AfterFunc(time.Minute, func() { close(goOn) })
		if v, err := kv.Get(t.Context(), "k"); string(v) != "late" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	})
}

func TestSingleProcessContextThatHasEnded(t *testing.T) {
	s := &mapStorage{before: func(string) { t.Error("the storage was called") }}
	kv := store.SingleProcess(s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // chance must have no part in it
		_, err := kv.Get(ctx, "k")
		wantErr(t, err, context.Canceled)
		swapped, err := kv.CompareAndSwap(ctx, "k", nil, []byte("x"))
		wantErr(t, err, context.Canceled)
		if swapped {
			t.Fatal("swapped")
		}
	}
}

func TestSingleProcessStorageThatBreaks(t *testing.T) {
	errLocked := errors.New("the device is locked")
	s := &failingStorage{}
	kv := store.SingleProcess(s)
	for name, c := range map[string]struct {
		do   func() error
		want string
	}{
		"an error": {func() error { return errLocked }, "the device is locked"},
		"a panic":  {func() error { panic("no Java VM") }, "Storage"},
		"Goexit":   {func() error { runtime.Goexit(); return nil }, "ended its goroutine"},
	} {
		s.do = c.do
		v, err := kv.Get(t.Context(), "k")
		if v != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s in Get: %q, %v", name, v, err)
		}
		s.onlyPut = true
		swapped, err := kv.CompareAndSwap(t.Context(), "k", nil, []byte("x"))
		if swapped || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s in Put: %t, %v", name, swapped, err)
		}
		s.onlyPut = false
		s.do = func() error { return nil }
		if _, err := kv.Get(t.Context(), "k"); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

type failingStorage struct {
	do      func() error
	onlyPut bool
}

func (f *failingStorage) Get(string) ([]byte, error) {
	if f.onlyPut {
		return nil, nil
	}
	return nil, f.do()
}
func (f *failingStorage) Put(string, []byte) error { return f.do() }

// TestSingleProcessConcurrent: many callers are one goroutine at a time for the storage.
func TestSingleProcessConcurrent(t *testing.T) {
	kv := store.SingleProcess(&mapStorage{})
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for n := byte(1); n <= 20; n++ {
				old, err := kv.Get(t.Context(), "k")
				if err != nil {
					t.Error(err)
				}
				next := append(bytes.Clone(old), n)
				swapped, err := kv.CompareAndSwap(t.Context(), "k", old, next)
				if err != nil {
					t.Error(err)
				}
				if swapped {
					won.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if v, err := kv.Get(t.Context(), "k"); err != nil || len(v) != int(won.Load()) {
		t.Errorf("%d swaps are stored of %d, %v", len(v), won.Load(), err)
	}
}
