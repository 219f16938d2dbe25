package behaviour_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// refreshTokenOnly is a login that brought no access token.
func refreshTokenOnly(r *sessiontest.Rig) *tokenclient.Token {
	return &tokenclient.Token{RefreshToken: r.Server.Issue("alice").RefreshToken, Expiry: time.Now().Add(time.Hour)}
}

// TestRefreshTokenOnly: a session may begin with a refresh token alone. The first request,
// and not the login, fetches an access token; nothing is sent without one.
func TestRefreshTokenOnly(t *testing.T) {
	shared := new(store.Memory)
	keep := sessiontest.Kept(shared)
	for name, first := range map[string]func(*testing.T, *sessiontest.Rig){
		"requests": func(t *testing.T, r *sessiontest.Rig) { r.WantGets(t, 20, 200) },
		"Token": func(t *testing.T, r *sessiontest.Rig) {
			if token, err := r.Session.Token(t.Context()); err != nil || token.AccessToken == "" {
				t.Errorf("token %v, error %v", token, err)
			}
		},
		"KeepFresh": func(t *testing.T, r *sessiontest.Rig) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.Session.KeepFresh(ctx); err != nil {
				t.Error(err)
			}
		},
		"another session": func(t *testing.T, r *sessiontest.Rig) {
			other := r.Another(t, keep).Session
			if token, err := other.Token(t.Context()); err != nil || token.AccessToken == "" {
				t.Errorf("token %v, error %v", token, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := sessiontest.New(t, &tokentest.Options{InMemory: true}, keep)
				r.Give(t, refreshTokenOnly(r))
				if token, err := r.Session.Peek(t.Context()); err != nil || token.AccessToken != "" {
					t.Errorf("Peek: token %v, error %v", token, err)
				}
				r.WantRefreshes(t, 0)
				first(t, r)
				r.WantGet(t, 200)
				r.WantRefreshes(t, 1)
				if n := r.Server.Counters().Unauthorized; n != 0 {
					t.Errorf("%d requests were refused", n)
				}
			})
		})
	}
}

// TestRefreshTokenOnlyFails: without an access token there is nothing to send meanwhile.
func TestRefreshTokenOnlyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Give(t, refreshTokenOnly(r))
		r.Server.FailRefresh(-1, tokentest.Fault{Status: 503})
		_, err := r.Get(t.Context())
		sessiontest.WantTransient(t, "GET", err)
		r.Server.FailRefresh(0, tokentest.Fault{})
		time.Sleep(time.Minute)
		r.WantGet(t, 200)

		r.Give(t, refreshTokenOnly(r))
		r.Server.RevokeAll("alice")
		_, err = r.Get(t.Context())
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoginRequired, tokenclient.ErrRefused)
		if n := r.Server.Counters().Unauthorized; n != 0 {
			t.Errorf("%d requests were refused", n)
		}
	})
	none := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("X-Auth-Token")
	})
	for _, token := range []*tokenclient.Token{{RefreshToken: "r"}, {}} {
		if err := none.SetToken(t.Context(), token); err == nil {
			t.Errorf("SetToken of %v succeeded", token)
		}
	}
}
