package tokenclient_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// refreshTokenOnly is a login that brought no access token.
func refreshTokenOnly(r *rig) *tokenclient.Token {
	return &tokenclient.Token{RefreshToken: r.srv.Issue("alice").RefreshToken, Expiry: time.Now().Add(time.Hour)}
}

// TestRefreshTokenOnly: a session may begin with a refresh token alone. The first request,
// and not the login, fetches an access token; nothing is sent without one.
func TestRefreshTokenOnly(t *testing.T) {
	shared := new(store.Memory)
	keep := func(c *tokenclient.Config, _ *tokentest.Server) { c.Store, c.Key = shared, "alice" }
	for name, first := range map[string]func(*testing.T, *rig){
		"requests": func(t *testing.T, r *rig) { crowd(20, func() { r.wantGet(t, 200) }) },
		"Token": func(t *testing.T, r *rig) {
			if token, err := r.session.Token(t.Context()); err != nil || token.AccessToken == "" {
				t.Errorf("token %v, error %v", token, err)
			}
		},
		"KeepFresh": func(t *testing.T, r *rig) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.session.KeepFresh(ctx); err != nil {
				t.Error(err)
			}
		},
		"another session": func(t *testing.T, r *rig) {
			other := newSession(t, r, keep)
			if token, err := other.Token(t.Context()); err != nil || token.AccessToken == "" {
				t.Errorf("token %v, error %v", token, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &tokentest.Options{InMemory: true}, keep)
				r.give(t, refreshTokenOnly(r))
				if token, err := r.session.Peek(t.Context()); err != nil || token.AccessToken != "" {
					t.Errorf("Peek: token %v, error %v", token, err)
				}
				r.wantRefreshes(t, 0)
				first(t, r)
				r.wantGet(t, 200)
				r.wantRefreshes(t, 1)
				if n := r.srv.Counters().Unauthorized; n != 0 {
					t.Errorf("%d requests were refused", n)
				}
			})
		})
	}
}

// TestRefreshTokenOnlyFails: without an access token there is nothing to send meanwhile.
func TestRefreshTokenOnlyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true}, nil)
		r.give(t, refreshTokenOnly(r))
		r.srv.FailRefresh(-1, tokentest.Fault{Status: 503})
		_, err := r.get(t.Context())
		wantTransient(t, "GET", err)
		r.srv.FailRefresh(0, tokentest.Fault{})
		time.Sleep(time.Minute)
		r.wantGet(t, 200)

		r.give(t, refreshTokenOnly(r))
		r.srv.RevokeAll("alice")
		_, err = r.get(t.Context())
		wantErr(t, "GET", err, tokenclient.ErrLoginRequired, tokenclient.ErrRefused)
		if n := r.srv.Counters().Unauthorized; n != 0 {
			t.Errorf("%d requests were refused", n)
		}
	})
	none := contractSession(t, func(c *tokenclient.Config) {
		c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("X-Auth-Token")
	})
	for _, token := range []*tokenclient.Token{{RefreshToken: "r"}, {}} {
		if err := none.SetToken(t.Context(), token); err == nil {
			t.Errorf("SetToken of %v succeeded", token)
		}
	}
}
