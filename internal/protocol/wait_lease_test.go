package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A countedMedium counts the looks at it.
type countedMedium struct {
	*faultyMedium
	mu    sync.Mutex
	looks int
}

func (m *countedMedium) Get(ctx context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	m.looks++
	m.mu.Unlock()
	return m.faultyMedium.Get(ctx, key)
}

func (m *countedMedium) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.looks
}

// A callingMedium calls who waits, if the test says so.
type callingMedium struct {
	countedMedium
	calls  map[string]func()
	broken bool // no call is to be expected
}

func (m *callingMedium) Call(key string, changed func()) (hears func() bool, stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		m.calls = make(map[string]func())
	}
	m.calls[key] = changed
	return func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return !m.broken
		}, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.calls, key)
		}
}

// call calls who waits for key, and reports whether somebody does.
func (m *callingMedium) call(key string) bool {
	m.mu.Lock()
	changed := m.calls[key]
	m.mu.Unlock()
	if changed == nil {
		return false
	}
	changed()
	return true
}

// holdFor has e's holder take d for a refresh of each of keys; it has begun when holdFor returns.
func holdFor(t *testing.T, e *protocol.Engine, d time.Duration, seen map[string]tokenclient.Record) (done func()) {
	t.Helper()
	var wg sync.WaitGroup
	for key, r := range seen {
		wg.Go(func() {
			if _, err := e.Refresh(t.Context(), key, r, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				time.Sleep(d)
				return next(ctx, cur)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	return wg.Wait
}

// waitFor has n refreshes of each of keys wait in e, and returns how long the last waited.
func waitFor(t *testing.T, e *protocol.Engine, n int, seen map[string]tokenclient.Record) (longest time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for key, r := range seen {
		for range n {
			wg.Go(func() {
				if _, err := e.Refresh(t.Context(), key, r, time.Minute, never(t)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, time.Since(began))
			})
		}
	}
	wg.Wait()
	return longest
}

// TestWaitIsShort: who waits for a refresh waits no more than a tenth longer than that takes,
// and looks at the medium less and less often.
func TestWaitIsShort(t *testing.T) {
	for d, most := range map[time.Duration]int{
		5 * time.Millisecond: 20, 50 * time.Millisecond: 60, 300 * time.Millisecond: 90,
		2 * time.Second: 120, 15 * time.Second: 160,
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &countedMedium{faultyMedium: &faultyMedium{}}
			a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := map[string]tokenclient.Record{"k": login(t, a, "k", "a")}
			done := holdFor(t, a, d, seen)
			before := m.count()
			waited := waitFor(t, b, 1, seen)
			if waited > d+d/10+2*time.Millisecond {
				t.Errorf("a refresh of %v was waited for for %v", d, waited)
			}
			if looks := m.count() - before; looks > most {
				t.Errorf("a refresh of %v: %d looks, want %d at most", d, looks, most)
			}
			done()
		})
	}
}

// TestManyWait: all sessions of a process that wait for the same key look at the medium as
// often as one, and those that wait for many keys no more than some ninety times a second.
func TestManyWait(t *testing.T) {
	for name, c := range map[string]struct{ keys, each int }{"one key": {1, 32}, "many keys": {32, 1}, "both": {8, 8}} {
		synctest.Test(t, func(t *testing.T) {
			m := &countedMedium{faultyMedium: &faultyMedium{}}
			a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := map[string]tokenclient.Record{}
			for i := range c.keys {
				key := string(rune('A' + i))
				seen[key] = login(t, a, key, key)
			}
			const d = 10 * time.Second
			done := holdFor(t, a, d, seen)
			before := m.count()
			waitFor(t, b, c.each, seen)
			rate := float64(m.count()-before) / d.Seconds()
			t.Logf("%s: %.0f looks a second", name, rate)
			if rate > 100 {
				t.Errorf("%s: %.0f looks a second", name, rate)
			}
			done()
		})
	}
}

// TestThousandsWait: nobody waits more than a second longer because others wait for other keys,
// though the medium calls them or not.
func TestThousandsWait(t *testing.T) {
	for name, deaf := range map[string]bool{"cannot call": true, "calls get lost": false} {
		synctest.Test(t, func(t *testing.T) {
			m := &callingMedium{countedMedium: countedMedium{faultyMedium: &faultyMedium{}}, broken: deaf}
			a, b := newEngine(&m.countedMedium, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := map[string]tokenclient.Record{}
			for i := range 2000 {
				key := fmt.Sprint(i)
				seen[key] = login(t, a, key, key)
			}
			const d = 3 * time.Second
			done := holdFor(t, a, d, seen)
			before := m.count()
			waited := waitFor(t, b, 1, seen)
			t.Logf("%s: %v, %d looks", name, waited, m.count()-before)
			if waited > d+time.Second {
				t.Errorf("%s: a refresh of %v was waited for for %v", name, d, waited)
			}
			done()
		})
	}
}

// TestLookerLeaves: if the one who looks for all gives up, another does it.
func TestLookerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &countedMedium{faultyMedium: &faultyMedium{}}
		a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
		seen := map[string]tokenclient.Record{"k": login(t, a, "k", "a")}
		done := holdFor(t, a, time.Second, seen)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		go func() {
			if _, err := b.Refresh(ctx, "k", seen["k"], time.Minute, never(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %v", err)
			}
		}()
		synctest.Wait()
		if waited := waitFor(t, b, 3, seen); waited > 1105*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		done()
	})
}

// TestCalls: a medium that calls is looked at once a second, and who waits is served at once.
// A call that gets lost costs that second. Where it cannot call at the moment, it is looked at as often
// as any other.
func TestCalls(t *testing.T) {
	for name, c := range map[string]struct {
		broken, lost bool
		longest      time.Duration
		looks        int
	}{
		"called":      {false, false, 2 * time.Second, 6},
		"lost":        {false, true, 3 * time.Second, 7},
		"cannot call": {true, false, 2205 * time.Millisecond, 120},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &callingMedium{countedMedium: countedMedium{faultyMedium: &faultyMedium{}}, broken: c.broken}
			a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := map[string]tokenclient.Record{"k": login(t, a, "k", "a")}
			done := holdFor(t, a, 2*time.Second, seen)
			before := m.count()
			go func() {
				done()
				if !c.lost {
					m.call("k")
				}
			}()
			if waited := waitFor(t, b, 1, seen); waited > c.longest {
				t.Errorf("%s: waited %v", name, waited)
			}
			if looks := m.count() - before; looks > c.looks {
				t.Errorf("%s: %d looks", name, looks)
			}
			if m.call("k") {
				t.Errorf("%s: nobody waits, and is called", name)
			}
		})
	}
}

// TestCallsBegin: who waits does not look again and again while the medium is about to call.
func TestCallsBegin(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // the medium calls
		looks int           // at the most, in 2 s: the first, that of the first call, two or three later, and the last
	}{"soon": {3 * time.Millisecond, 6}, "late": {100 * time.Millisecond, 16}} {
		synctest.Test(t, func(t *testing.T) {
			m := &callingMedium{countedMedium: countedMedium{faultyMedium: &faultyMedium{}}, broken: true}
			a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := map[string]tokenclient.Record{"k": login(t, a, "k", "a")}
			done := holdFor(t, a, 2*time.Second, seen)
			before := m.count()
			go func() {
				time.Sleep(c.after)
				m.mu.Lock()
				m.broken = false
				m.mu.Unlock()
				m.call("k")
				done()
				m.call("k")
			}()
			waitFor(t, b, 1, seen)
			if looks := m.count() - before; looks > c.looks {
				t.Errorf("%s: %d looks, want %d at most", name, looks, c.looks)
			}
		})
	}
}

// TestFloodOfCalls: calls for nothing make nobody look more and more. A waiter is deaf for twice
// as long after each, and hears again after the first that it slept through: some eight looks
// a second, and never twelve, however chance has it.
func TestFloodOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &callingMedium{countedMedium: countedMedium{faultyMedium: &faultyMedium{}}}
		a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
		seen := map[string]tokenclient.Record{"k": login(t, a, "k", "a")}
		done := holdFor(t, a, 10*time.Second, seen)
		before := m.count()
		flood := make(chan struct{})
		go func() {
			for {
				select {
				case <-flood:
					return
				case <-time.After(100 * time.Microsecond):
					m.call("k")
				}
			}
		}()
		waited := waitFor(t, b, 1, seen)
		close(flood)
		if looks := m.count() - before; looks > 12*10 || waited > 11*time.Second {
			t.Errorf("%d looks, waited %v", looks, waited)
		}
		done()
	})
}

// TestDeafNoLonger: who was called for nothing is deaf for a while, and looks no later for it
// than it would without any call.
func TestDeafNoLonger(t *testing.T) {
	for range 20 { // half of each pause is left to chance
		synctest.Test(t, func(t *testing.T) {
			m := &callingMedium{countedMedium: countedMedium{faultyMedium: &faultyMedium{}}}
			a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := map[string]tokenclient.Record{"k": login(t, a, "k", "a")}
			done := holdFor(t, a, 700*time.Millisecond, seen)
			go func() {
				for deaf := time.Duration(0); deaf < 512*time.Millisecond; deaf = max(2*deaf, time.Millisecond) {
					time.Sleep(deaf + time.Microsecond)
					m.call("k")
				}
			}()
			// The last call is after half a second. The pause that follows takes a second at most.
			if waited := waitFor(t, b, 1, seen); waited > 1600*time.Millisecond {
				t.Errorf("waited %v", waited)
			}
			done()
		})
	}
}

// TestWaitsAreOver: keys that were waited for make nobody wait longer once they are not any more.
func TestWaitsAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &countedMedium{faultyMedium: &faultyMedium{}}
		a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
		const d = 50 * time.Millisecond
		for i := range 40 {
			key := string(rune('A' + i))
			seen := map[string]tokenclient.Record{key: login(t, a, key, key)}
			done := holdFor(t, a, d, seen)
			if waited := waitFor(t, b, 2, seen); waited > d+d/10+2*time.Millisecond {
				t.Fatalf("key %d: a refresh of %v was waited for for %v", i, d, waited)
			}
			done()
		}
	})
}
