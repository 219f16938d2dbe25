package tokenclient_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// lookups is a Pool with so many loaded users of a million, what a program without one
// would have in its place, and their keys, which are not the same strings as in either.
type lookups struct {
	pool   *tokenclient.Pool
	byHand sync.Map // of *user by key
	keys   []any
	next   int
}

// A user is what a program finds by hand.
type user struct {
	session *tokenclient.Session
	used    atomic.Uint32
}

func newLookups(tb testing.TB, live int) *lookups {
	l := &lookups{keys: make([]any, live)}
	l.pool = sessiontest.NewPool(tb, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: live}, sessiontest.NoRefresh)
	for i := range l.keys {
		key := sessiontest.PoolUser(i * (1_000_000 / live))
		l.keys[i] = strings.Clone(key)
		s, err := l.pool.Session(tb.Context(), strings.Clone(key))
		if err != nil {
			tb.Fatal(err)
		}
		l.byHand.Store(strings.Clone(key), &user{session: s})
	}
	rand.Shuffle(live, func(i, j int) { l.keys[i], l.keys[j] = l.keys[j], l.keys[i] })
	if s := l.pool.Stats(); s.Live != live {
		tb.Fatalf("%+v, want %d live", s, live)
	}
	runtime.GC()
	return l
}

// key returns one key after the other.
func (l *lookups) key() any {
	if l.next++; l.next == len(l.keys) {
		l.next = 0
	}
	return l.keys[l.next]
}

// inSyncMap finds a session by hand, and notes that it is used.
func (l *lookups) inSyncMap(c *keyContext) bool {
	c.key = l.key()
	u, ok := l.byHand.Load(c.Value(nil))
	if !ok {
		return false
	}
	if u := u.(*user); u.used.Load() != 1 {
		u.used.Store(1)
	}
	return u.(*user).session != nil
}

// keyContext is one context for all keys: those of requests are new, and in the
// processor's cache.
type keyContext struct {
	context.Context
	key any
}

func (c *keyContext) Value(any) any { return c.key }

func (l *lookups) inPool(c *keyContext) bool {
	c.key = l.key()
	s, err := tokenclient.SessionFor(l.pool, c)
	return s != nil && err == nil
}

// TestPoolHotPath: what a Pool adds to the request of a user who is loaded takes no lock,
// be it the Pool's or the session's, and allocates nothing. How long it takes is for
// BenchmarkPool to say.
func TestPoolHotPath(t *testing.T) {
	const live = 1000
	l := newLookups(t, live)
	c := &keyContext{Context: t.Context()}
	look := func() {
		if !l.inPool(c) {
			t.Error("a key is missing")
		}
	}
	unlock := tokenclient.LockPool(l.pool)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range live {
			look()
		}
	}()
	select {
	case <-done:
		unlock()
	case <-time.After(time.Minute):
		unlock()
		t.Fatal("a look-up waits for a lock")
	}
	if n := testing.AllocsPerRun(1000, look); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPoolAllocs: a request through a Pool allocates no more than through a Session.
func TestPoolAllocs(t *testing.T) {
	if sessiontest.Race {
		t.Skip("the race detector allocates by itself")
	}
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}, sessiontest.NoRefresh)
	s, err := p.Session(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), "alice"), http.MethodGet, sessiontest.FakeAPI, nil)
	if err != nil {
		t.Fatal(err)
	}
	allocs := func(rt http.RoundTripper) float64 {
		return testing.AllocsPerRun(200, func() {
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
		})
	}
	base := newAllocsBase()
	if pool, one := allocs(p.Transport(base)), allocs(s.Transport(base)); pool > one {
		t.Errorf("%v allocations, and %v with a Session", pool, one)
	}
	if n := testing.AllocsPerRun(200, func() { _, _ = p.Session(context.Background(), "alice") }); n != 0 {
		t.Errorf("Session: %v allocations", n)
	}
}

// BenchmarkPool compares what a Pool adds to a request to what finding a session by hand
// would, and prints the ratio.
func BenchmarkPool(b *testing.B) {
	l := newLookups(b, 10_000)
	perLook := func(b *testing.B, look func(*keyContext) bool) float64 {
		b.ReportAllocs()
		c := &keyContext{Context: context.Background()}
		for b.Loop() {
			if !look(c) {
				b.Fatal("a key is missing")
			}
		}
		return float64(b.Elapsed()) / float64(b.N)
	}
	var byHand float64
	b.Run("sync.Map", func(b *testing.B) { byHand = perLook(b, l.inSyncMap) })
	b.Run("Pool", func(b *testing.B) {
		if took := perLook(b, l.inPool); byHand > 0 {
			b.ReportMetric(took/byHand, "times-sync.Map")
		}
	})
}
