package manyusers_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPoolStrangers: very many keys that nobody knows cost one look at the store each,
// leave no memory behind, and push out no user.
func TestPoolStrangers(t *testing.T) {
	n := 200_000
	if testing.Short() || sessiontest.Race {
		n /= 10
	}
	const users = 1000
	shared := &sessiontest.PoolStore{Known: func(key string) *tokenclient.Token {
		if strings.HasPrefix(key, "user-") {
			return sessiontest.Everybody(key)
		}
		return nil
	}}
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: shared, MaxIdle: users}, sessiontest.NoRefresh)
	rt := p.Transport(sessiontest.AlwaysOK)
	send := func(key string) error {
		req, err := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), key), http.MethodGet, sessiontest.FakeAPI, nil)
		if err != nil {
			return err
		}
		_, err = rt.RoundTrip(req)
		return err
	}
	for i := range users {
		if err := send(sessiontest.PoolUser(i)); err != nil {
			t.Fatal(err)
		}
	}
	strangers := func(from, to int) {
		for i := from; i < to; i++ {
			for range 2 {
				if err := send(fmt.Sprintf("stranger-%d", i)); !errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Fatalf("error %v", err)
				}
			}
		}
	}
	strangers(0, n/2)
	before := heap()
	strangers(n/2, n)
	after := heap()
	s := p.Stats()
	t.Logf("%d strangers: %d remembered, %d KiB before and %d KiB after", n, s.Empty, before>>10, after>>10)
	if after > before+before/10 {
		t.Errorf("memory went from %d to %d bytes", before, after)
	}
	if s.Live != users {
		t.Errorf("%d of %d users are loaded", s.Live, users)
	}
	if loads := shared.Loads.Load(); loads > int64(users+n+n/100) {
		t.Errorf("%d looks at the store for %d strangers and %d users", loads, n, users)
	}
}

// heap is the memory of what is reachable. Cleanups run some time after a collection,
// and free what the next one takes.
func heap() uint64 {
	var m runtime.MemStats
	least := ^uint64(0)
	for same := 0; same < 5; same++ {
		runtime.GC()
		runtime.Gosched()
		if runtime.ReadMemStats(&m); m.HeapAlloc < least-least/1000 {
			least, same = m.HeapAlloc, 0
		}
	}
	return least
}

// TestPoolMemory: a Pool with a million known users of whom ten thousand are live
// takes the memory of ten thousand.
func TestPoolMemory(t *testing.T) {
	live, known := 10_000, 1_000_000
	if testing.Short() || sessiontest.Race {
		live, known = 1000, 50_000
	}
	visit := func(p *tokenclient.Pool, n int) {
		for i := range n {
			if s, err := p.Session(t.Context(), sessiontest.PoolUser(i)); s == nil || err != nil {
				t.Fatal(err)
			}
		}
	}
	measure := func(n int) (bytes uint64, s tokenclient.PoolStats) {
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: live}, sessiontest.NoRefresh)
		before := heap()
		visit(p, n)
		bytes = heap() - before
		s = p.Stats()
		runtime.KeepAlive(p)
		return bytes, s
	}
	few, _ := measure(live)
	many, s := measure(known)
	t.Logf("%d bytes for each of %d live sessions; %d after %d were seen; %+v", few/uint64(live), live, many/uint64(live), known, s)
	if many > few+few/10 {
		t.Errorf("%d users were seen, %d are live: %d bytes, and %d if only these were seen", known, live, many, few)
	}
	if s.Live != live || s.Evicted != uint64(known-live) {
		t.Errorf("%+v, want %d live and %d evicted", s, live, known-live)
	}
}
