package behaviour_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// countingRefresher counts each user's refreshes. The first of unlucky fails. times is to be
// read when none is under way.
func countingRefresher(unlucky string) (refresh tokenclient.RefresherFunc, times map[string]int) {
	var mu sync.Mutex
	times = map[string]int{}
	return func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
		mu.Lock()
		defer mu.Unlock()
		user := userOf(old)
		times[user]++
		if user == unlucky && times[user] == 1 {
			return nil, &tokenclient.TokenError{StatusCode: 503, Err: errors.New("busy")}
		}
		return fresh(old), nil
	}, times
}

// TestPoolKeepFresh: idle users are left out if that is asked for, a token that cannot
// be refreshed is tried again, and a heartbeat is kept.
func TestPoolKeepFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refresh, times := countingRefresher("unlucky")
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, IdleFor: 24 * time.Hour,
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				c := tokenclient.Config{Refresher: refresh, Origins: []string{sessiontest.FakeAPI}}
				switch key {
				case "alive":
					c.Heartbeat = 10 * time.Minute
				case "sliding":
					c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("X-Token")
				}
				return c, nil
			},
		}, nil)
		for _, key := range []string{"idle", "unlucky", "alive", "sliding"} {
			sessionOf(t, p, key)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.KeepFresh(ctx, 0) }()
		time.Sleep(59 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if times["idle"] != 1 || times["unlucky"] < 2 || times["alive"] != 5 || times["sliding"] != 0 {
			t.Errorf("refreshes: %v", times)
		}

		clear(times)
		ctx, cancel = context.WithTimeout(t.Context(), 9*time.Hour)
		defer cancel()
		go func() {
			for range 9 {
				sessionOf(t, p, "unlucky")
				time.Sleep(time.Hour)
			}
		}()
		time.Sleep(6 * time.Hour)
		go func() { done <- p.KeepFresh(ctx, 3*time.Hour) }()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if times["idle"] != 0 || times["unlucky"] < 2 {
			t.Errorf("refreshes of those used lately: %v", times)
		}
		if err := p.KeepFresh(t.Context(), -1); err == nil {
			t.Error("a negative time is no error")
		}
	})
}

// TestPoolKeepFreshClockWasSetBack: as for one session.
func TestPoolKeepFreshClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := func(key string) *tokenclient.Token {
			token := sessiontest.Everybody(key)
			token.Issued, token.Expiry = token.Issued.Add(24*time.Hour), token.Expiry.Add(24*time.Hour)
			return token
		}
		refresh, times := countingRefresher("")
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: &sessiontest.PoolStore{Known: ahead}, IdleFor: 24 * time.Hour,
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				c := tokenclient.Config{Refresher: refresh, Origins: []string{sessiontest.FakeAPI}}
				if key == "alive" {
					c.Heartbeat = time.Minute
				}
				return c, nil
			},
		}, nil)
		for _, key := range []string{"by-expiry", "alive"} {
			sessionOf(t, p, key)
		}
		sessiontest.KeepFresh(t, p, 12*time.Hour)
		if n := times["alive"]; n < 12*60-1 || n > 12*60+1 {
			t.Errorf("%d heartbeats in 12 hours", n)
		}
		if n := times["by-expiry"]; n < 11 || n > 15 {
			t.Errorf("%d refreshes of a token of one hour in 12 hours", n)
		}
	})
}

// TestPoolKeepFreshShort: tokens that live for seconds are kept fresh as well.
func TestPoolKeepFreshShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short := func(key string) *tokenclient.Token { return sessiontest.Pair("access", "refresh-"+key, 20*time.Second) }
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: short}},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				return short(userOf(old)), nil
			})
		s := sessionOf(t, p, "alice")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.KeepFresh(ctx, 0) }()
		for range 300 {
			time.Sleep(time.Second)
			if token, err := s.Peek(t.Context()); err != nil || time.Until(token.Expiry) <= 0 {
				t.Fatalf("%v, error %v", token, err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPoolKeepFreshOutage: an answer that is lost leaves the refresh token announced,
// and early refreshes leave it alone then. When the access token is over, KeepFresh
// presents it all the same: nobody else will.
func TestPoolKeepFreshOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var n atomic.Int32
		down.Store(true)
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: new(store.Memory), IdleFor: 24 * time.Hour},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				if down.Load() {
					return nil, &tokenclient.TokenError{StatusCode: 503, Err: errors.New("busy")}
				}
				n.Add(1)
				return fresh(old), nil
			})
		if err := sessionOf(t, p, "alice").SetToken(t.Context(), sessiontest.Pair("a", "refresh-alice", time.Hour)); err != nil {
			t.Fatal(err)
		}
		sessiontest.KeepFresh(t, p, 56*time.Minute) // the early refresh is due, and fails
		down.Store(false)
		sessiontest.KeepFresh(t, p, 5*time.Hour)
		if n.Load() < 4 {
			t.Errorf("%d refreshes in the five hours after a short outage", n.Load())
		}
	})
}

// TestPoolKeepFreshCause: no request started those refreshes.
func TestPoolKeepFreshCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause atomic.Int32
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, IdleFor: 24 * time.Hour,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{
					Hooks:   &tokenclient.Hooks{Refreshed: func(i tokenclient.RefreshInfo) { cause.Store(int32(i.Cause)) }},
					Origins: []string{sessiontest.FakeAPI},
					Refresher: tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						return fresh(old), nil
					}),
				}, nil
			}}, nil)
		sessionOf(t, p, "alice")
		sessiontest.KeepFresh(t, p, 59*time.Minute)
		if got := tokenclient.Cause(cause.Load()); got != tokenclient.CauseTimer {
			t.Errorf("the cause is %v, want timer", got)
		}
	})
}

// TestPoolKeepFreshEnds: a token that cannot be refreshed ends its session when it
// expires, once, as Session.KeepFresh has it.
func TestPoolKeepFreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: new(store.Memory), IdleFor: 24 * time.Hour,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{
					Hooks:     &tokenclient.Hooks{SessionEnded: func(error) { ended.Add(1) }},
					Origins:   []string{sessiontest.FakeAPI},
					Refresher: &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("x")},
				}, nil
			}}, nil)
		if err := sessionOf(t, p, "alice").SetToken(t.Context(), sessiontest.Pair("a", "", time.Hour)); err != nil {
			t.Fatal(err)
		}
		sessiontest.KeepFresh(t, p, 3*time.Hour)
		if n := ended.Load(); n != 1 {
			t.Errorf("SessionEnded was called %d times, want once", n)
		}
	})
}
