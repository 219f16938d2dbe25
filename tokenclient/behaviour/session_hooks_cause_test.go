package behaviour_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestHooksCauses: every refresh has the cause that started it, and one end.
func TestHooksCauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newFlightRig(t, &tokentest.Options{Latency: time.Second}, nil)
		r.Login(t)
		r.WantGet(t, 200)
		l.want()

		time.Sleep(14 * time.Minute)
		r.WantGet(t, 200)
		time.Sleep(2 * time.Second)
		l.want("soft refreshed")

		time.Sleep(20 * time.Minute)
		r.WantGet(t, 200)
		l.want("hard refreshed")

		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		l.want("rejected refreshed")

		if _, err := r.Session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		l.want("forced refreshed")

		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		if err := r.Session.KeepFresh(ctx); err != nil {
			t.Error(err)
		}
		l.want("timer refreshed")

		r.Server.FailRefresh(1, tokentest.Fault{Status: 429})
		_, err := r.Session.Refresh(t.Context())
		sessiontest.WantTransient(t, "Refresh", err)
		l.want("forced failed")
	})
}

// TestHooksCauseOfJoined: a refresh keeps its cause when a more urgent one joins.
func TestHooksCauseOfJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newFlightRig(t, &tokentest.Options{Latency: time.Second}, nil)
		r.Login(t)
		time.Sleep(14 * time.Minute)
		r.WantGet(t, 200) // begins a refresh
		synctest.Wait()
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		if _, err := r.Session.Refresh(t.Context()); err != nil { // a second one
			t.Error(err)
		}
		l.want("soft refreshed", "forced refreshed")
	})
}

// TestHooksOvertaken: what ends a refresh without being its failure.
func TestHooksOvertaken(t *testing.T) {
	slow := tokentest.Options{Latency: time.Minute}
	late := func(c *tokenclient.Config, _ *tokentest.Server) { c.RefreshTimeout = time.Hour }
	for _, tc := range []struct {
		name string
		want string
		down bool                                   // the token endpoint fails
		do   func(t *testing.T, r *sessiontest.Rig) // while a refresh runs
	}{
		{"login", "forced overtaken: replaced", false, func(t *testing.T, r *sessiontest.Rig) { r.Login(t) }},
		{"logout", "forced overtaken: replaced", false, func(t *testing.T, r *sessiontest.Rig) {
			r.Logout(t)
		}},
		{"Close", "forced refreshed", false, func(t *testing.T, r *sessiontest.Rig) { sessiontest.Close(t, r.Session) }},
		{"outage and Close", "forced overtaken: closed", true, func(t *testing.T, r *sessiontest.Rig) { sessiontest.Close(t, r.Session) }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			o := slow
			r, l := newFlightRig(t, &o, late)
			r.Login(t)
			if tc.down {
				r.Server.FailRefresh(-1, tokentest.Fault{Status: 429})
			}
			go func() { _, _ = r.Session.Refresh(t.Context()) }()
			synctest.Wait()
			tc.do(t, r)
			time.Sleep(time.Hour)
			l.want(tc.want)
		})
	}
}

// TestHooksOvertakenByProcess: another session on the same store, in the place of
// another process, logs out or refreshes first.
func TestHooksOvertakenByProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(store.Memory)
		share := sessiontest.Kept(shared)
		r, _ := newFlightRig(t, &tokentest.Options{}, share)
		r.Login(t)
		other, l := newFlightRig(t, &tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			share(c, srv)
			c.Refresher = r.Server.OAuth2Refresher()
		})
		if _, err := other.Session.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Session.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		l.want("forced adopted")
		r.Logout(t)
		_, err := other.Session.Refresh(t.Context())
		sessiontest.WantErr(t, "Refresh after a logout elsewhere", err, tokenclient.ErrLoginRequired)
		l.want("forced overtaken: ended")
		r.Login(t)
		time.Sleep(lookInterval)
		if _, err := other.Session.Token(t.Context()); err != nil {
			t.Error(err)
		}
		l.want("adopted") // a look, and no refresh
	})
}

// lookInterval is longer than a session without a token waits before it looks again.
const lookInterval = 2 * time.Second

// TestHooksOfLateRefresher: a pair that comes after its refresh has failed is told as
// a refresh of its own.
func TestHooksOfLateRefresher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &flightLog{t: t}
		refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			time.Sleep(time.Minute)
			return sessiontest.Pair("access 2", "refresh 2", time.Hour), nil
		}
		r := sessiontest.NewFake(t, refresh, sessiontest.AlwaysOK,
			func(c *tokenclient.Config) { c.Hooks, c.RefreshTimeout = l.hooks(), time.Second })
		r.Give(t, sessiontest.Pair("access 1", "refresh 1", time.Hour))
		_, err := r.Session.Refresh(t.Context())
		sessiontest.WantTransient(t, "Refresh", err)
		l.want("forced failed")
		time.Sleep(time.Hour)
		l.want("forced refreshed")
	})
}

// TestHooksStormGuarded: told once when it begins, however many requests are refused.
func TestHooksStormGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Duration
		var rejections int
		n := 0
		refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			n++
			return sessiontest.Pair(fmt.Sprint("access ", n), fmt.Sprint("refresh ", n), time.Hour), nil
		}
		r := sessiontest.NewFake(t, refresh, func(req *http.Request) (*http.Response, error) { return sessiontest.Reply(req, 401), nil },
			func(c *tokenclient.Config) {
				c.Hooks = &tokenclient.Hooks{
					StormGuarded: func(i tokenclient.RefreshInfo, until time.Time) {
						if i.Generation == 0 || i.Expiry.IsZero() {
							t.Errorf("info %+v", i)
						}
						told = append(told, time.Until(until))
					},
					Rejected: func(method, origin string) {
						if method != "GET" || origin != sessiontest.FakeAPI {
							t.Errorf("rejected %s %s", method, origin)
						}
						rejections++
					},
				}
			})
		r.Give(t, sessiontest.Pair("access", "refresh", time.Hour))
		for range 10 {
			r.WantGet(t, 401)
		}
		synctest.Wait()
		// Three refreshes, each with a replay and four tries of the new token, which take
		// 1.5 s; then the 401 as it is.
		if len(told) != 1 || told[0] != 30*time.Second-3*1500*time.Millisecond || rejections != 13+3*4 {
			t.Errorf("told %v, %d rejections", told, rejections)
		}
		if _, err := r.Session.RefreshRejected(t.Context(), nil); err != nil {
			t.Error(err)
		}
		time.Sleep(30 * time.Second)
		for range 10 {
			r.WantGet(t, 401)
		}
		synctest.Wait()
		if len(told) != 2 {
			t.Errorf("told %v, want a second time after a refresh", told)
		}
	})
}

// TestHooksAttached: called with the request's context, on its goroutine, for each
// sending.
func TestHooksAttached(t *testing.T) {
	type key struct{}
	var generations []uint64
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Hooks = &tokenclient.Hooks{Attached: func(ctx context.Context, generation uint64) {
			if ctx.Value(key{}) != "mine" {
				t.Error("another context")
			}
			generations = append(generations, generation) // a race unless it is on this goroutine
		}}
	})
	ctx := context.WithValue(t.Context(), key{}, "mine")
	base := sessiontest.NewBase(200, 401, 200)
	for _, url := range []string{sessiontest.URL, sessiontest.URL, "https://elsewhere.example.com/"} {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if _, err := s.Transport(base).RoundTrip(req); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.PerRPCCredentials().GetRequestMetadata(ctx, sessiontest.URL); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{1, 1, 2, 2}; !slices.Equal(generations, want) {
		t.Errorf("generations %v, want %v", generations, want)
	}
}
