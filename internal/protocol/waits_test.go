package protocol_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A tardyMedium has read, and then takes its time.
type tardyMedium struct {
	*callingMedium
	reads atomic.Int32
	read  func(n int32) // nil: at once
}

func (m *tardyMedium) Get(ctx context.Context, key string) ([]byte, error) {
	raw, err := m.callingMedium.Get(ctx, key)
	if n := m.reads.Add(1); m.read != nil {
		m.read(n)
	}
	return raw, err
}

func newTardyMedium() *tardyMedium {
	return &tardyMedium{callingMedium: &callingMedium{countedMedium: countedMedium{faultyMedium: &faultyMedium{}}}}
}

// holdUntil is a refresh of seen by a that ends with err, or the next token, when end is called,
// which returns when it is over.
func holdUntil(t *testing.T, a tokenclient.Store, seen tokenclient.Record, err error) (end func()) {
	t.Helper()
	leave, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		if _, got := a.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if <-leave; err != nil {
				return nil, err
			}
			return next(ctx, cur)
		}); err != nil || got != nil {
			wantErr(t, got, err)
		}
	}()
	synctest.Wait()
	return func() {
		close(leave)
		<-over
	}
}

// TestNoCallIsLost: a change, and its call, that come when the record was read and nobody waits
// yet, be it for the first time, or again.
func TestNoCallIsLost(t *testing.T) {
	for n := int32(1); n <= 4; n++ {
		synctest.Test(t, func(t *testing.T) {
			m := newTardyMedium()
			a, b := newEngine(m.callingMedium, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := login(t, a, "k", "a")
			end := holdUntil(t, a, seen, nil)
			var ended time.Time
			m.read = func(read int32) {
				if read == n {
					end()
					m.call("k")
					ended = time.Now()
				}
			}
			if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, never(t)); err != nil {
				t.Error(err)
			}
			if d := time.Since(ended); d > 2*time.Millisecond {
				t.Errorf("a change after read %d was noticed after %v", n, d)
			}
		})
	}
}

// TestWhoeverReads: what one reads in a process serves all who wait there.
func TestWhoeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTardyMedium()
		a, b := newEngine(m.callingMedium, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
		seen := login(t, a, "k", "a")
		end := holdUntil(t, a, seen, nil)
		var served atomic.Int32
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, never(t)); err != nil {
					t.Error(err)
				}
				served.Add(1)
			})
		}
		time.Sleep(10 * time.Second)
		end()
		wantStored(t, b, "k", "refresh-a'", 2)
		synctest.Wait()
		if n := served.Load(); n != 3 {
			t.Errorf("%d are served, want 3", n)
		}
		all.Wait()
	})
}

// TestLookerHangs: others look, though less often.
func TestLookerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTardyMedium()
		m.broken = true
		a, b := newEngine(m.callingMedium, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
		seen := login(t, a, "k", "a")
		end := holdUntil(t, a, seen, nil)
		hangs := make(chan struct{})
		m.read = func(n int32) {
			if n == 3 {
				<-hangs
			}
		}
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, never(t)); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Second) // the looker's third look hangs
		time.AfterFunc(time.Second, end)
		began := time.Now()
		if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, never(t)); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("served after %v", d)
		}
		close(hangs)
		<-looked
	})
}

// TestHolderDoesNotWait: who holds the key by now is not called, and looks for nobody.
func TestHolderDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTardyMedium()
		a, b := newEngine(m.callingMedium, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
		seen := login(t, a, "k", "a")
		end := holdUntil(t, a, seen, tokenclient.ErrNotPresented)
		time.AfterFunc(time.Second, func() {
			if end(); !m.call("k") {
				t.Error("nobody waits")
			}
		})
		if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if m.call("k") {
				t.Error("the holder is called")
			}
			return next(ctx, cur)
		}); err != nil {
			t.Error(err)
		}
	})
}
