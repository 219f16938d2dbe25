package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPoolIdle: a session that nobody uses goes after IdleFor, and one that is used
// stays.
func TestPoolIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, IdleFor: 8 * time.Minute}, sessiontest.NoRefresh)
		sessionOf(t, p, "alice")
		sessionOf(t, p, "bob")
		for range 14 {
			time.Sleep(30 * time.Second)
			sessionOf(t, p, "bob")
		}
		if s := p.Stats(); s.Live != 2 {
			t.Errorf("after 7 of 8 minutes: %+v", s)
		}
		for range 6 {
			time.Sleep(30 * time.Second)
			sessionOf(t, p, "bob")
		}
		if s := p.Stats(); s.Live != 1 || s.Evicted != 1 {
			t.Errorf("after 10 of 8 minutes: %+v, want only bob", s)
		}
		for key := range p.Sessions() {
			if key != "bob" {
				t.Errorf("%s is loaded", key)
			}
		}
		time.Sleep(11 * time.Minute)
		if s := p.Stats(); s.Live != 0 || s.Loads != 2 {
			t.Errorf("after 10 minutes more: %+v, want nothing live and 2 loads", s)
		}
	})
}

// TestPoolHeldConcurrent: as long as anybody holds a Session, that is the one of its
// key, however often it is evicted; and when nobody does, nothing of it is left.
func TestPoolHeldConcurrent(t *testing.T) {
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: 2}, sessiontest.NoRefresh)
	mine := sessionOf(t, p, "mine")
	for round := range 20 {
		for i := range 10 {
			sessionOf(t, p, sessiontest.PoolUser(10*round+i))
		}
		runtime.GC()
		if again := sessionOf(t, p, "mine"); again != mine {
			t.Fatalf("round %d: another session of the same key", round)
		}
	}
	if s := p.Stats(); s.Live != 2 || s.Loads != 201 {
		t.Errorf("%+v, want 2 live and 201 loads", s)
	}
	runtime.KeepAlive(mine)

	collected := make(chan struct{})
	func() {
		s := sessionOf(t, p, "theirs")
		runtime.AddCleanup(s, func(c chan struct{}) { close(c) }, collected)
	}()
	sessionOf(t, p, "x")
	sessionOf(t, p, "y")
	sessionOf(t, p, "z")
	for range 1000 {
		runtime.GC()
		select {
		case <-collected:
			return
		default:
		}
	}
	t.Error("a session that nobody holds is still there")
}

// TestPoolChurnConcurrent: many goroutines ask for one hot key and for many cold ones
// in a Pool that has hardly room, while the hot one is held by somebody.
func TestPoolChurnConcurrent(t *testing.T) {
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: 4}, sessiontest.NoRefresh)
	hot := sessionOf(t, p, "hot")
	rt := p.Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		if want := "Bearer access-" + req.Header.Get("User"); req.Header.Get("Authorization") != want {
			t.Errorf("Authorization %q, want %q", req.Header.Get("Authorization"), want)
		}
		return sessiontest.Reply(req, 200), nil
	}))
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		wg.Go(func() {
			for i := range 300 {
				user := "hot"
				if i%3 > 0 {
					user = sessiontest.PoolUser(int(next.Add(1)) % 50)
				} else if s, err := p.Session(t.Context(), user); s != hot || err != nil {
					t.Errorf("the hot session is another one, error %v", err)
				}
				req, err := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), user), http.MethodGet, sessiontest.FakeAPI, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("User", user)
				if _, err := rt.RoundTrip(req); err != nil {
					t.Errorf("%s: %v", user, err)
				}
				if i%100 == 0 {
					runtime.GC()
				}
			}
		})
	}
	wg.Wait()
	runtime.KeepAlive(hot)
	if s := p.Stats(); s.Live > 4 {
		t.Errorf("%+v, want at most 4 live", s)
	}
}

// TestPoolBusyStays: a session is not evicted while a refresh of its is in flight,
// while a token of its is not saved, and while a logout of its is not stored.
func TestPoolBusyStays(t *testing.T) {
	live := func(p *tokenclient.Pool, key string) bool {
		for k := range p.Sessions() {
			if k == key {
				return true
			}
		}
		return false
	}
	press := func(t *testing.T, p *tokenclient.Pool) {
		for i := range 20 {
			sessionOf(t, p, sessiontest.PoolUser(i))
		}
		runtime.GC()
		time.Sleep(time.Hour) // and all that is idle
		sessionOf(t, p, sessiontest.PoolUser(20))
	}
	sessiontest.Bubble(t, "refresh", func(t *testing.T) {
		answer := make(chan struct{})
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: 2},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				<-answer
				return sessiontest.Pair("new", "r", 10*time.Hour), nil
			})
		done := make(chan error)
		go func() {
			_, err := sessionOf(t, p, "alice").Refresh(context.Background())
			done <- err
		}()
		synctest.Wait()
		for i := range 20 {
			sessionOf(t, p, sessiontest.PoolUser(i))
		}
		if s := p.Stats(); !live(p, "alice") || s.Refreshing != 1 {
			t.Errorf("alice, whose refresh is in flight, was evicted: %+v", s)
		}
		close(answer)
		if err := <-done; err != nil {
			t.Error(err)
		}
		press(t, p)
		if live(p, "alice") {
			t.Error("alice, who is idle, was not evicted")
		}
	})
	sessiontest.Bubble(t, "unsaved", func(t *testing.T) {
		unsaving := &unsavingStore{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: unsaving, MaxIdle: 2},
			func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				return sessiontest.Pair("new", "r", 10*time.Hour), nil
			})
		if _, err := sessionOf(t, p, "alice").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		press(t, p)
		if token, err := sessionOf(t, p, "alice").Token(t.Context()); err != nil || token.AccessToken != "new" || unsaving.saves.Load() < 10 {
			t.Errorf("the token that is not saved is lost: %v after %d attempts, error %v", token, unsaving.saves.Load(), err)
		}
		unsaving.works.Store(true)
		time.Sleep(2 * time.Minute)
		press(t, p)
		if live(p, "alice") {
			t.Error("alice, whose token was saved, was not evicted")
		}
	})
	sessiontest.Bubble(t, "logout", func(t *testing.T) {
		steps := &sessiontest.StepStore{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: steps, MaxIdle: 2}, sessiontest.NoRefresh)
		sessionOf(t, p, "alice")
		steps.Broken.Store(true)
		sessiontest.WantErr(t, "Logout", p.Logout(t.Context(), "alice"), tokenclient.ErrStoreUnavailable)
		steps.Broken.Store(false)
		press(t, p)
		_, err := sessionOf(t, p, "alice").Token(t.Context())
		sessiontest.WantErr(t, "after a logout that is not stored", err, tokenclient.ErrLoginRequired)
	})
}

// TestPoolKeepsRetryAfter: a session that the token endpoint has sent away is not
// forgotten before the time is over, or the next request would ask again at once.
func TestPoolKeepsRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: expired}, MaxIdle: 1},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				if userOf(old) != "alice" {
					return fresh(old), nil
				}
				calls.Add(1)
				return nil, &tokenclient.TokenError{StatusCode: 400, RetryAfter: 9 * time.Minute, Err: errors.New("slow down")}
			})
		for range 3 {
			for _, user := range []string{"alice", "bob", "carol", "dave"} {
				if _, err := sessionOf(t, p, user).Token(t.Context()); (err == nil) != (user != "alice") {
					t.Errorf("%s: %v", user, err)
				}
			}
			time.Sleep(2 * time.Minute)
			runtime.GC()
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("the endpoint was asked %d times before the time was over", n)
		}
		time.Sleep(5 * time.Minute)
		_, _ = sessionOf(t, p, "alice").Token(t.Context())
		if n := calls.Load(); n != 2 {
			t.Errorf("after that it was asked %d times in all, want twice", n)
		}
	})
}

// TestPoolKeepsLogout: a session that was forgotten while somebody held it is not
// forgotten after a logout that could not be stored: it alone knows of that.
func TestPoolKeepsLogout(t *testing.T) {
	st := &sessiontest.StepStore{Store: new(store.Memory)}
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: st, MaxIdle: 1}, sessiontest.NoRefresh)
	func() {
		s := sessionOf(t, p, "alice")
		for _, key := range []string{"alice", "bob", "carol"} {
			if err := sessionOf(t, p, key).SetToken(t.Context(), sessiontest.Everybody(key)); err != nil {
				t.Fatal(err)
			}
		}
		st.Broken.Store(true)
		if err := s.Logout(t.Context()); !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Fatal(err)
		}
		st.Broken.Store(false)
	}()
	for range 5 {
		runtime.GC()
		runtime.Gosched()
	}
	client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
	if err := sessiontest.Ask(t.Context(), client, "alice"); !errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("a request with the token of a user who was logged out: %v", err)
	}
}

// TestPoolLoginTakenBack: a session that was forgotten while somebody held it is kept
// again when its user logs in.
func TestPoolLoginTakenBack(t *testing.T) {
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: 1}, sessiontest.NoRefresh)
	alice := sessionOf(t, p, "alice")
	sessionOf(t, p, "bob")
	if err := alice.SetToken(t.Context(), sessiontest.Everybody("alice")); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Live != 1 || s.Evicted != 2 {
		t.Errorf("%+v, want alice in the place of bob", s)
	}
	for key, s := range p.Sessions() {
		if key != "alice" || s != alice {
			t.Errorf("%s is kept", key)
		}
	}
}
