package behaviour_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// holdRejections is a transport that keeps back each 401 of base until release
// gives it leave.
func holdRejections(base http.RoundTripper, release <-chan struct{}) sessiontest.RoundTrip {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			<-release
		}
		return resp, err
	}
}

func TestLateRejections(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    tokentest.Options
	}{
		{"JWT", tokentest.Options{}},
		{"opaque, no expiry", tokentest.Options{Opaque: true, NoExpiresIn: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.o.InMemory = true
				r := sessiontest.New(t, &tc.o, nil)
				release := make(chan struct{})
				r.Client = r.Session.Wrap(&http.Client{Transport: holdRejections(r.Server.Client().Transport, release)})
				r.Login(t)
				r.Server.RevokeAccess("alice")

				const n = 50
				var ok atomic.Int32
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						if status, err := r.Get(t.Context()); err != nil || status != 200 {
							t.Errorf("status %d, error %v", status, err)
							return
						}
						ok.Add(1)
					})
				}
				synctest.Wait()
				for i := range n {
					release <- struct{}{}
					synctest.Wait()
					if got := ok.Load(); got != int32(i+1) {
						t.Fatalf("%d requests succeeded after %d rejections came", got, i+1)
					}
					r.WantRefreshes(t, 1)
				}
				wg.Wait()
				if c := r.Server.Counters(); c.Unauthorized != n {
					t.Errorf("%d rejections, want %d", c.Unauthorized, n)
				}
			})
		})
	}
}

// A server may issue the same text again: only generations tell which token was
// refused.
func TestLateRejectionsOfTheSameText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		var refreshes atomic.Int32
		refresh := func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			refreshes.Add(1)
			return sessiontest.Pair("same", fmt.Sprint("r", refreshes.Load()+1), time.Hour), nil
		}
		release := make(chan struct{})
		r := sessiontest.NewFake(t, refresh, holdRejections(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			if refreshes.Load() == 0 {
				return sessiontest.Reply(req, 401), nil
			}
			return sessiontest.Reply(req, 200), nil
		}), release), nil)
		r.Give(t, sessiontest.Pair("same", "r1", time.Hour))
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if status, err := r.Get(t.Context()); err != nil || status != 200 {
					t.Errorf("status %d, error %v", status, err)
				}
			})
		}
		synctest.Wait()
		for range n {
			release <- struct{}{}
			synctest.Wait()
		}
		wg.Wait()
		if got := refreshes.Load(); got != 1 {
			t.Errorf("%d refreshes, want 1", got)
		}
	})
}

// Whoever joins a flight that ends in the very token that was refused gets the
// 401, and does not go round again.
func TestLateRejectionsEndInTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10
		var refreshes, sent atomic.Int32
		refresh := func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			refreshes.Add(1)
			time.Sleep(time.Second)
			return old, nil
		}
		r := sessiontest.NewFake(t, refresh, func(req *http.Request) (*http.Response, error) {
			sent.Add(1)
			return sessiontest.Reply(req, 401), nil
		}, nil)
		r.Give(t, sessiontest.Pair("same", "r1", time.Hour))
		sessiontest.Crowd(n, func() {
			if status, err := r.Get(t.Context()); err != nil || status != 401 {
				t.Errorf("status %d, error %v, want the 401", status, err)
			}
		})
		if refreshes.Load() != 1 || sent.Load() != 2*n {
			t.Errorf("%d refreshes and %d sendings, want 1 and %d", refreshes.Load(), sent.Load(), 2*n)
		}
	})
}

func TestLateRejectionsWithoutTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refreshes atomic.Int32
		refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			refreshes.Add(1)
			return sessiontest.Pair("same", "r2", time.Hour), nil
		}
		r := sessiontest.NewFake(t, refresh, nil, nil)
		r.Give(t, sessiontest.Pair("same", "r1", time.Hour))
		first, err := r.Session.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		sessiontest.Crowd(10, func() {
			next, err := r.Session.RefreshRejected(t.Context(), first)
			if err != nil || next.RefreshToken != "r2" {
				t.Errorf("token %v, error %v, want the second pair", next, err)
			}
		})
		for _, late := range []*tokenclient.Token{first, sessiontest.Pair("unknown", "", 0), nil} {
			next, err := r.Session.RefreshRejected(t.Context(), late)
			if err != nil || next.RefreshToken != "r2" {
				t.Errorf("late: token %v, error %v, want the second pair", next, err)
			}
		}
		if got := refreshes.Load(); got != 1 {
			t.Errorf("%d refreshes, want 1", got)
		}
	})
}

// A rejection that comes when the session is over does not revive it.
func TestLateRejectionsAfterLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		release := make(chan struct{})
		r.Client = r.Session.Wrap(&http.Client{Transport: holdRejections(r.Server.Client().Transport, release)})
		r.Login(t)
		r.Server.RevokeAccess("alice")
		failed := make(chan error)
		go func() {
			_, err := r.Get(t.Context())
			failed <- err
		}()
		synctest.Wait()
		if err := r.Session.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		release <- struct{}{}
		sessiontest.WantErr(t, "GET", <-failed, tokenclient.ErrLoginRequired)
		r.WantRefreshes(t, 0)
	})
}
