package events_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/events"
)

func TestQueueKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q events.Queue
		var got, want []int
		for i := range 1000 {
			want = append(want, i)
			q.Post(func() { got = append(got, i) })
			if i%7 == 0 {
				synctest.Wait() // the queue is empty, and is started again
			}
		}
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("called %v", got)
		}
	})
}

// TestQueueConcurrent: of many who post, each has its own order, and no two functions run
// at the same time.
func TestQueueConcurrent(t *testing.T) {
	const posters, posts = 8, 1000
	var q events.Queue
	var called sync.WaitGroup
	called.Add(posters * posts)
	got := make([][]int, posters) // and no mutex
	var all sync.WaitGroup
	for p := range posters {
		all.Go(func() {
			for i := range posts {
				q.Post(func() {
					got[p] = append(got[p], i)
					called.Done()
				})
			}
		})
	}
	all.Wait()
	called.Wait()
	for p, order := range got {
		if len(order) != posts || !slices.IsSorted(order) {
			t.Errorf("poster %d: %v", p, order)
		}
	}
}

// TestQueueNobodyWaits: who posts goes on, and what was posted waits for the one before.
func TestQueueNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q events.Queue
		var mu sync.Mutex
		var at []time.Duration
		began := time.Now()
		mu.Lock() // the function takes it
		for range 3 {
			q.Post(func() {
				mu.Lock()
				defer mu.Unlock()
				time.Sleep(time.Minute)
				at = append(at, time.Since(began))
			})
		}
		if time.Since(began) != 0 {
			t.Errorf("it took %v to post", time.Since(began))
		}
		mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("called at %v, want %v", at, want)
		}
	})
}

// TestQueueFromWithin: a function may post others, which come after it, also if none
// waits.
func TestQueueFromWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q events.Queue
		var got []string
		q.Post(func() {
			time.Sleep(time.Second)
			q.Post(func() { got = append(got, "within") })
			time.Sleep(time.Second)
			got = append(got, "first")
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"first", "within"}; !slices.Equal(got, want) {
			t.Errorf("called %q, want %q", got, want)
		}
	})
}

// TestQueueGoexit: a function that ends its goroutine takes none of the others with it,
// be it the last or not.
func TestQueueGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q events.Queue
		calls := 0
		for range 3 {
			for range 5 {
				q.Post(func() {
					calls++
					runtime.Goexit()
				})
			}
			synctest.Wait()
		}
		if calls != 15 {
			t.Errorf("%d calls, want 15", calls)
		}
	})
}

// TestQueueIsSmall: each of a million sessions has one. That none of them keeps a
// goroutine is what each bubble of these tests checks at its end.
func TestQueueIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(events.Queue{}); size > 16 {
		t.Errorf("%d bytes, want 16", size)
	}
}

// TestQueueLetsGo: what a function holds is free once it was called, although later ones
// wait.
func TestQueueLetsGo(t *testing.T) {
	var q events.Queue
	called, hold := make(chan struct{}), make(chan struct{})
	defer close(hold)
	large := new([1 << 20]byte)
	held := weak.Make(large)
	q.Post(func() { large[0] = 1 })
	q.Post(func() { close(called); <-hold })
	q.Post(func() {})
	<-called
	runtime.GC()
	if held.Value() != nil {
		t.Error("it is still held")
	}
}
