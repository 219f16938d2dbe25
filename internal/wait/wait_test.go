package wait_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/wait"
)

// TestSignal: all who wait are let go, who comes later is not, and nothing that was sent
// between Sent and the wait is missed.
func TestSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g wait.Signal
		g.Send() // nobody waits
		released := 0
		var mu sync.Mutex
		for range 5 {
			go func() {
				g.Watch()
				defer g.Unwatch()
				<-g.Sent()
				mu.Lock()
				defer mu.Unlock()
				released++
			}()
		}
		synctest.Wait()
		g.Watch()
		before := g.Sent()
		g.Send()
		<-before
		synctest.Wait()
		if released != 5 {
			t.Errorf("%d were let go, want 5", released)
		}
		select {
		case <-g.Sent():
			t.Error("the signal of before lets go who came after it")
		default:
		}
		if wait.Idle(&g) {
			t.Error("it has forgotten who watches")
		}
		if g.Unwatch(); !wait.Idle(&g) {
			t.Error("it takes memory although nobody waits")
		}
	})
}

// TestLock: one has it at a time, and who waits may leave without it.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l wait.Lock
		var all sync.WaitGroup
		inside, most := 0, 0
		for range 8 {
			all.Go(func() {
				for range 100 {
					if err := l.Take(t.Context()); err != nil {
						t.Error(err)
						return
					}
					inside++ // a race if two have it
					most = max(most, inside)
					time.Sleep(time.Millisecond)
					inside--
					l.Leave()
				}
			})
		}
		all.Wait()
		if most != 1 || l.Taken() {
			t.Errorf("%d had it at a time; taken in the end: %v", most, l.Taken())
		}

		if err := l.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who left has error %v", err)
		}
		l.Leave()
		if err := l.Take(t.Context()); err != nil {
			t.Errorf("after one left without it: %v", err)
		}
		l.Leave()
	})
}

// TestSmall: each of a million sessions has one of each.
func TestSmall(t *testing.T) {
	if s, l := unsafe.Sizeof(wait.Signal{}), unsafe.Sizeof(wait.Lock{}); s > 24 || l > 16 {
		t.Errorf("%d and %d bytes, want 24 and 16", s, l)
	}
}
