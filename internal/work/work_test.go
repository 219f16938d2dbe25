package work_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/work"
)

type ownerKey struct{}

func parent() context.Context { return context.WithValue(context.Background(), ownerKey{}, "owner") }

// patience is short, so that each bound can be told from the others.
var patience = work.Patience{End: time.Second, Most: time.Hour, Stays: true, Land: time.Minute, Grace: 500 * time.Millisecond}

// begin is a Begin that must be possible.
func begin(t *testing.T, w *work.Work) {
	t.Helper()
	if !w.Begin(parent) {
		t.Fatal("nothing may begin")
	}
}

// TestWork: all that runs shares one context, which ends with the last of it.
func TestWork(t *testing.T) {
	var w work.Work
	if w.Now() != nil {
		t.Error("something runs before anything began")
	}
	begin(t, &w)
	begin(t, &w)
	n := w.Now()
	if n.Lifetime.Value(ownerKey{}) != "owner" || n.Lifetime.Err() != nil {
		t.Errorf("lifetime %v, %v", n.Lifetime, n.Lifetime.Err())
	}
	if w.Finish(); n.Lifetime.Err() != nil || w.Now() != n {
		t.Error("it ended with the first that did")
	}
	if w.Finish(); n.Lifetime.Err() == nil || w.Now() != nil {
		t.Error("it goes on without anything that runs")
	}
	begin(t, &w)
	if now := w.Now(); now == n || now.Lifetime.Err() != nil {
		t.Error("what begins anew has the context of before")
	}
	w.Finish()
}

// TestWorkClose: after the end nothing begins, but what runs may begin more.
func TestWorkClose(t *testing.T) {
	var w work.Work
	begin(t, &w)
	n := w.Close()
	select {
	case <-n.Closing:
	default:
		t.Error("what runs is not told")
	}
	if n.Lifetime.Err() != nil {
		t.Error("what runs is cut short at once")
	}
	begin(t, &w)
	w.Finish()
	w.Finish()
	if w.Begin(parent) {
		t.Error("something begins after the end")
	}
	if again := w.Close(); again != nil || w.Wait(t.Context(), again, patience) != work.Done {
		t.Error("something runs after the end")
	}
}

// TestWorkClosedTwice: who closes once more, or closes what never began, gets the same answer.
func TestWorkClosedTwice(t *testing.T) {
	var w, never work.Work
	begin(t, &w)
	n := w.Close()
	if again := w.Close(); again != n {
		t.Error("closed again it says that something else runs")
	}
	w.Finish()
	if n := never.Close(); n != nil || never.Wait(t.Context(), n, patience) != work.Done || never.Begin(parent) {
		t.Error("what never began is not over at once")
	}
}

// TestPresent: stretches that must not be cut short come and go while nobody waits for them, and
// who does waits for the last one.
func TestPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w work.Work
		begin(t, &w)
		for _, left := range []time.Duration{0, 10 * time.Second, 30 * time.Second, 20 * time.Second} {
			if !w.MayPresent() {
				t.Fatal("nothing may be presented")
			}
			if left == 0 {
				w.Presented()
				continue
			}
			time.AfterFunc(left, w.Presented)
		}
		time.AfterFunc(30*time.Second, w.Finish)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if got := w.Wait(ended, w.Close(), patience); got != work.Done || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
	})
}

// TestWait: how long Wait waits for what, and what it says then.
func TestWait(t *testing.T) {
	for _, c := range []struct {
		name     string
		runs     time.Duration // until what runs is over
		heeds    bool          // it is over when its lifetime ends
		presents time.Duration // until what must not be cut short is over; 0: nothing is
		ctx      time.Duration // until the caller's context ends
		leaves   bool          // nothing stays
		want     work.Verdict
		took     time.Duration
	}{
		{name: "ends by itself", runs: 500 * time.Millisecond, ctx: time.Hour, want: work.Done, took: 500 * time.Millisecond},
		{name: "heeds the end", runs: time.Hour, heeds: true, ctx: 2 * time.Hour, want: work.Done, took: time.Second},
		{name: "does not", runs: 2 * time.Hour, ctx: 3 * time.Hour, want: work.TooLate, took: time.Hour},
		{name: "context ends", runs: 2 * time.Hour, ctx: 10 * time.Second, want: work.Left, took: 10*time.Second + patience.Grace},
		{name: "context ends, it heeds that", runs: time.Hour, heeds: true, ctx: 500 * time.Millisecond, want: work.Done, took: 500 * time.Millisecond},
		{name: "presents", runs: 30 * time.Second, presents: 30 * time.Second, ctx: 10 * time.Second, want: work.Done, took: 30 * time.Second},
		{name: "presents for too long", runs: 2 * time.Hour, presents: 2 * time.Hour, ctx: 10 * time.Second, want: work.Left, took: 70*time.Second + patience.Grace},
		{name: "nothing stays", runs: time.Hour, presents: time.Hour, ctx: 10 * time.Second, leaves: true, want: work.Left, took: 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w work.Work
				begin(t, &w)
				if c.presents > 0 {
					if !w.MayPresent() {
						t.Fatal("nothing may be presented")
					}
					time.AfterFunc(c.presents, w.Presented)
				}
				lifetime := w.Now().Lifetime
				go func() {
					defer w.Finish()
					ended := lifetime.Done()
					if !c.heeds {
						ended = nil
					}
					select {
					case <-ended:
					case <-time.After(c.runs):
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
				defer cancel()
				p := patience
				p.Stays = !c.leaves
				began := time.Now()
				if got := w.Wait(ctx, w.Close(), p); got != c.want || time.Since(began) != c.took {
					t.Errorf("%v after %v, want %v after %v", got, time.Since(began), c.want, c.took)
				}
				if lifetime.Err() == nil {
					t.Error("its lifetime goes on")
				}
				if left := ctx.Err() != nil && !c.leaves; w.MayPresent() == left {
					t.Errorf("after the caller left something may be presented: %v", !left)
				}
				time.Sleep(3 * time.Hour)
			})
		})
	}
}

// TestWaitAgain: what was not begun any more is not waited for.
func TestWaitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w work.Work
		begin(t, &w)
		if !w.MayPresent() {
			t.Fatal("nothing may be presented")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		n := w.Close()
		if got := w.Wait(ended, n, patience); got != work.Left {
			t.Errorf("%v, want %v", got, work.Left)
		}
		if w.MayPresent() {
			t.Error("something may be presented that nobody waits for")
		}
		w.Presented() // what was begun before
		began := time.Now()
		if got := w.Wait(ended, n, patience); got != work.Left || time.Since(began) != patience.Grace {
			t.Errorf("%v after %v, want %v after %v", got, time.Since(began), work.Left, patience.Grace)
		}
		w.Finish()
	})
}

// TestSmall: each of a million sessions has one.
func TestSmall(t *testing.T) {
	if size := unsafe.Sizeof(work.Work{}); size > 56 {
		t.Errorf("%d bytes, want 56", size)
	}
}
