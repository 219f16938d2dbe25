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

func TestLateRejections(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    tokentest.Options
	}{
		{"JWT", tokentest.Options{}},
		{"opaque, no expiry", tokentest.Options{Opaque: true, NoExpiresIn: true}},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := newLateRig(t, tc.o)
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
				r.held.release()
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
		held := make(lateRejections)
		r := sessiontest.NewFake(t, refresh, held.of(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			if refreshes.Load() == 0 {
				return sessiontest.Reply(req, 401), nil
			}
			return sessiontest.Reply(req, 200), nil
		})), nil)
		r.Give(t, sessiontest.Pair("same", "r1", time.Hour))
		var wg sync.WaitGroup
		wg.Go(func() { r.WantGets(t, n, 200) })
		synctest.Wait()
		for range n {
			held.release()
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
			time.Sleep(time.Second) // all are sent before the first is refused
			return sessiontest.Reply(req, 401), nil
		}, nil)
		r.Give(t, sessiontest.Pair("same", "r1", time.Hour))
		r.WantGets(t, n, 401)
		// As the token is new, one of them tries it for all.
		if got := sent.Load(); refreshes.Load() != 1 || got <= 2*n || got > 2*n+4 {
			t.Errorf("%d refreshes and %d sendings, want 1 and up to %d", refreshes.Load(), got, 2*n+4)
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
		r := newLateRig(t, tokentest.Options{})
		answered := r.begin(t)
		r.Logout(t)
		r.held.release()
		sessiontest.WantErr(t, "GET", <-answered, tokenclient.ErrLoginRequired)
		r.WantRefreshes(t, 0)
	})
}
