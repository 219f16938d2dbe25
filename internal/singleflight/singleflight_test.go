package singleflight_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/singleflight"
)

// TestDoChan: those who come while a function runs get its result, those who come later
// begin another, and names have nothing to do with each other.
func TestDoChan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g singleflight.Group
		failed := errors.New("failed")
		var a, b int // calls
		takes := map[string]time.Duration{"a": time.Second, "b": time.Minute}
		calls := map[string]*int{"a": &a, "b": &b}
		for round := range 3 {
			var all sync.WaitGroup
			for name := range calls {
				for range 5 {
					all.Go(func() {
						r := <-g.DoChan(name, func() (any, error) {
							*calls[name]++
							time.Sleep(takes[name])
							return *calls[name], failed
						})
						if r.Val != round+1 || r.Err != failed {
							t.Errorf("%s: %v, %v", name, r.Val, r.Err)
						}
					})
				}
				synctest.Wait() // they have joined
			}
			all.Wait()
		}
		if a != 3 || b != 3 {
			t.Errorf("%d calls of a and %d of b, want 3 of each", a, b)
		}
	})
}

// TestDoChanLeave: who leaves takes nothing from those who stay.
func TestDoChanLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g singleflight.Group
		fn := func() (any, error) { time.Sleep(time.Second); return 1, nil }
		_ = g.DoChan("a", fn)
		if r := <-g.DoChan("a", fn); r.Val != 1 || !r.Shared {
			t.Errorf("result %v", r)
		}
		time.Sleep(time.Minute)
	})
}

// TestDoChanConcurrent: whoever had a result is not handed the same again, and when all
// is over the Group holds nothing.
func TestDoChanConcurrent(t *testing.T) {
	const callers, calls = 8, 2000
	var g singleflight.Group
	var results [2]atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			var last [2]int64
			for i := range calls {
				n := i % 2
				r := <-g.DoChan([]string{"a", "b"}[n], func() (any, error) { return results[n].Add(1), nil })
				if got := r.Val.(int64); got <= last[n] {
					t.Errorf("result %d after result %d", got, last[n])
				} else {
					last[n] = got
				}
			}
		})
	}
	all.Wait()
	if !singleflight.Idle(&g) {
		t.Error("it takes memory although nothing is in flight")
	}
}

// TestDoChanLanded: who comes when a function has returned, and its result has not been
// delivered, begins another flight, also if others are in the air. The moment is too
// short to be met by chance.
func TestDoChanLanded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g singleflight.Group
		other := g.DoChan("b", func() (any, error) { time.Sleep(time.Hour); return nil, nil })
		r := <-g.DoChan("a", func() (any, error) {
			singleflight.Land(&g, "a")
			r := <-g.DoChan("a", func() (any, error) { return "second", nil })
			if r.Val != "second" {
				t.Errorf("result %v", r)
			}
			return "first", nil
		})
		if r.Val != "first" {
			t.Errorf("result %v", r)
		}
		<-other
		if !singleflight.Idle(&g) {
			t.Error("it takes memory although nothing is in flight")
		}
	})
}

// TestGroupIsSmall: each of a million sessions has one.
func TestGroupIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(singleflight.Group{}); size > 16 {
		t.Errorf("%d bytes, want 16", size)
	}
}
