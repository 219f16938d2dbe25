package tokenclient_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// keepAllFresh runs Pool.KeepFresh for d.
func keepAllFresh(t *testing.T, p *tokenclient.Pool, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := p.KeepFresh(ctx, 0); err != nil {
		t.Errorf("KeepFresh: %v", err)
	}
	synctest.Wait()
}

// TestPoolKeepFreshOutage: an answer that is lost leaves the refresh token announced,
// and early refreshes leave it alone then. When the access token is over, KeepFresh
// presents it all the same: nobody else will.
func TestPoolKeepFreshOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var n atomic.Int32
		down.Store(true)
		p := newPool(t, tokenclient.PoolConfig{Store: new(store.Memory), IdleFor: 24 * time.Hour},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				if down.Load() {
					return nil, &tokenclient.TokenError{StatusCode: 503, Err: errors.New("busy")}
				}
				n.Add(1)
				return fresh(old), nil
			})
		if err := get(t, p, "alice").SetToken(t.Context(), pair("a", "refresh-alice", time.Hour)); err != nil {
			t.Fatal(err)
		}
		keepAllFresh(t, p, 56*time.Minute) // the early refresh is due, and fails
		down.Store(false)
		keepAllFresh(t, p, 5*time.Hour)
		if n.Load() < 4 {
			t.Errorf("%d refreshes in the five hours after a short outage", n.Load())
		}
	})
}

// TestPoolKeepFreshCause: no request started those refreshes.
func TestPoolKeepFreshCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause atomic.Int32
		p := newPool(t, tokenclient.PoolConfig{Store: &poolStore{known: everybody}, IdleFor: 24 * time.Hour,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{
					Hooks:   &tokenclient.Hooks{Refreshed: func(i tokenclient.RefreshInfo) { cause.Store(int32(i.Cause)) }},
					Origins: []string{fakeAPI},
					Refresher: tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						return fresh(old), nil
					}),
				}, nil
			}}, nil)
		get(t, p, "alice")
		keepAllFresh(t, p, 59*time.Minute)
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
		p := newPool(t, tokenclient.PoolConfig{Store: new(store.Memory), IdleFor: 24 * time.Hour,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{
					Hooks:     &tokenclient.Hooks{SessionEnded: func(error) { ended.Add(1) }},
					Origins:   []string{fakeAPI},
					Refresher: &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("x")},
				}, nil
			}}, nil)
		if err := get(t, p, "alice").SetToken(t.Context(), pair("a", "", time.Hour)); err != nil {
			t.Fatal(err)
		}
		keepAllFresh(t, p, 3*time.Hour)
		if n := ended.Load(); n != 1 {
			t.Errorf("SessionEnded was called %d times, want once", n)
		}
	})
}
