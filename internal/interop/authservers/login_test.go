package authservers_test

import (
	"errors"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

func onEach(t *testing.T, test func(t *testing.T, r *rig)) {
	for name := range servers {
		t.Run(name, func(t *testing.T) { test(t, newRig(t, name)) })
	}
}

// wantActive fails unless the server says so of an access token.
func (r *rig) wantActive(t *testing.T, token *tokenclient.Token, want bool) {
	t.Helper()
	r.change(func() {})
	if got, err := r.isActive(t.Context(), token.AccessToken); err != nil || got != want {
		t.Errorf("the access token is active: %v, want %v, error %v", got, want, err)
	}
}

// TestClientAuth: each way to prove who the client is, from the login over a refresh to the
// revocation.
func TestClientAuth(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		for _, method := range authMethods {
			t.Run(method, func(t *testing.T) {
				before, _ := r.counts()
				failures := int(r.failures.Load()) // of the methods before
				session := r.session(t, r.refresher(method), r.login(t, method))
				client := session.Client()
				if err := r.get(t.Context(), client); err != nil {
					t.Fatal(err)
				}
				r.change(r.expire)
				if err := r.get(t.Context(), client); err != nil {
					t.Fatal(err)
				}
				r.want(t, before+1, 0, failures)
				last, err := session.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r.wantActive(t, last, true)
				if err := session.Logout(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.wantActive(t, last, false)
			})
		}
		// What was revoked cannot be exchanged.
		token := r.login(t, authBasic)
		if err := r.refresher(authBasic).Revoke(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if _, err := r.refresher(authBasic).Refresh(t.Context(), token); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("refresh after the revocation: %v", err)
		}
	})
}

// TestEnd: the end of the login is told at the first token that is dead, once, and the refresh
// token is not presented again.
func TestEnd(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		session := r.session(t, r.refresher(authNone), r.login(t, authNone))
		client := session.Client()
		if err := r.get(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		r.change(r.end)
		for range 3 {
			if err := r.get(t.Context(), client); !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("error %v", err)
			}
		}
		r.want(t, 0, 0, 1)
		if err := session.SetToken(t.Context(), r.login(t, authNone)); err != nil {
			t.Fatal(err)
		}
		if err := r.get(t.Context(), client); err != nil {
			t.Errorf("after another login: %v", err)
		}
	})
}

// TestReuse: somebody else presents a refresh token that was spent. The server ends the login,
// and the session hears of it at its next refresh.
func TestReuse(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		first := r.login(t, authNone)
		client := r.session(t, r.refresher(authNone), first).Client()
		r.change(r.expire)
		if err := r.get(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		r.change(func() {
			if _, err := r.refresher(authNone).Refresh(t.Context(), first); !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("the spent refresh token: %v", err)
			}
		})
		r.want(t, 1, 1, 1)
		if err := r.get(t.Context(), client); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("error %v", err)
		}
		refreshes, _ := r.counts()
		if failures := r.failures.Load(); refreshes != 1 || failures != 2 {
			t.Errorf("%d refreshes and %d failures, want 1 and 2", refreshes, failures)
		}
	})
}

// TestMistakes: what is wrong with the client ends no login.
func TestMistakes(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		token := r.login(t, authBasic)
		for name, auth := range map[string]tokenclient.ClientAuth{
			"secret": tokenclient.ClientSecretBasic(authBasic, "another"),
			"method": tokenclient.PublicClient(authBasic),
			"id":     tokenclient.PublicClient("nobody"),
			"whose":  tokenclient.PublicClient(authNone),
		} {
			refresher := r.refresher(authBasic)
			refresher.ClientAuth = auth
			_, err := refresher.Refresh(t.Context(), token)
			// Only the last one is about the refresh token (RFC 6749, section 5.2).
			if err == nil || errors.Is(err, tokenclient.ErrLoginRequired) != (name == "whose") {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if _, err := r.refresher(authBasic).Refresh(t.Context(), token); err != nil {
			t.Errorf("with what is right: %v", err)
		}
	})
}

// TestDiscovery: the metadata is that of the server, and a refresher finds it when it is due.
func TestDiscovery(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		refresher := &discovery.Refresher{Issuer: r.md.Issuer, Make: func(md *discovery.Metadata) tokenclient.Refresher {
			return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: r.clientAuth(authPost)}
		}}
		session := r.session(t, refresher, r.login(t, authPost))
		client := session.Client()
		for range 3 {
			r.change(r.expire)
			if err := r.get(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		r.want(t, 3, 0, 0)
		last, err := session.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.wantActive(t, last, false)
	})
}
