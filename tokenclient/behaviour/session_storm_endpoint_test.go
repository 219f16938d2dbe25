package behaviour_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// With the token endpoint down every request is answered, and few of them ask it.
func TestStormOnBrokenEndpoint(t *testing.T) {
	for _, f := range []struct {
		name string
		tokentest.Fault
		each int // presentations of one refresh
	}{
		{"500", tokentest.Fault{Status: 500}, 2},
		{"cut", tokentest.Fault{Cut: true}, 2},
		{"429", tokentest.Fault{Status: 429}, 1},
		{"400", tokentest.Fault{Status: 400, Body: `{"error":"invalid_client"}`}, 1},
		{"HTML", tokentest.Fault{Status: 200, Body: "<html>"}, 2},
	} {
		t.Run(f.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				r := sessiontest.New(t, &tokentest.Options{InMemory: true}, keep)
				r.Login(t)
				time.Sleep(time.Hour)
				r.Server.FailRefresh(-1, f.Fault)
				for range 1000 {
					if _, err := r.Get(t.Context()); err == nil {
						t.Fatal("a request succeeded without a token")
					}
					time.Sleep(60 * time.Millisecond)
				}
				// Half a second, one, two, four…: in the mean; chance may make it more.
				if got := r.Server.Counters().Refreshes; got < 2 || got > 25*f.each {
					t.Errorf("%d calls in a minute", got)
				}
				r.Server.FailRefresh(0, tokentest.Fault{})
				time.Sleep(time.Minute)
				r.WantGet(t, 200)
			})
		})
	}
}

// A refresh token that is dead is presented once, and then never again.
func TestStormOnDeadRefreshToken(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		r := sessiontest.New(t, slow(), keep)
		r.Login(t)
		r.Server.RevokeAll("alice")
		sessiontest.Crowd(sessiontest.Many(1000), func() {
			_, err := r.Get(t.Context())
			sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoginRequired)
		})
		began, before := time.Now(), r.Server.Counters()
		for range sessiontest.Many(1000) {
			_, err := r.Get(t.Context())
			sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoginRequired)
			_, err = r.Session.Refresh(t.Context())
			sessiontest.WantErr(t, "Refresh", err, tokenclient.ErrLoginRequired)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited %v", took)
		}
		if c := r.Server.Counters(); c.Refreshes != 1 || c.Requests != before.Requests {
			t.Errorf("%+v, before %+v", c, before)
		}
		r.Login(t)
		r.WantGet(t, 200)
	})
}

// A server that says when to come back is not asked before.
func TestStormObeysRetryAfter(t *testing.T) {
	for _, tc := range []struct{ says, waits time.Duration }{
		{5 * time.Minute, 5 * time.Minute},
		{24 * time.Hour, 10 * time.Minute}, // nobody waits as long as that
	} {
		sessiontest.Bubble(t, tc.says.String(), func(t *testing.T) {
			var calls atomic.Int32
			r := sessiontest.NewFake(t, func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				calls.Add(1)
				return nil, &tokenclient.TokenError{StatusCode: 503, RetryAfter: tc.says}
			}, nil, nil)
			r.Give(t, sessiontest.Pair("a", "r", time.Minute))
			time.Sleep(time.Hour)
			began := time.Now()
			for calls.Load() < 2 {
				_, err := r.Session.Token(t.Context())
				sessiontest.WantTransient(t, "Token", err)
				if calls.Load() == 1 {
					time.Sleep(time.Second)
				}
			}
			if got := time.Since(began).Round(10 * time.Second); got != tc.waits {
				t.Errorf("the Refresher was called again after %v, want %v", got, tc.waits)
			}
		})
	}
}

// Protocols without a Transport have no replay to judge by, and get one refresh for
// each half minute.
func TestStormOfRefreshRejected(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Second, 31 * time.Second, 2 * time.Minute} {
		sessiontest.Bubble(t, every.String(), func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, AccessLifetime: 1000 * time.Hour}, nil)
			r.Login(t)
			const hours = 12
			for end := time.Now().Add(hours * time.Hour); time.Now().Before(end); time.Sleep(every) {
				token, err := r.Session.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // refused, refreshed, and refused again
					next, err := r.Session.RefreshRejected(t.Context(), token)
					if err != nil {
						sessiontest.WantTransient(t, "RefreshRejected", err)
						var te *tokenclient.TokenError
						if errors.As(err, &te) && (te.RetryAfter < 0 || te.RetryAfter > time.Hour) {
							t.Fatalf("RetryAfter %v", te.RetryAfter)
						}
						break
					}
					token = next
				}
			}
			if got := r.Server.Counters().Refreshes; got > 3+hours*120+1 {
				t.Errorf("%d refreshes in %d hours", got, hours)
			}
		})
	}
}
