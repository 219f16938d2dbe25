package login_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestDPoP: logins of both kinds at a server that wants a new nonce in each proof. The
// session goes on with the key of the login.
func TestDPoP(t *testing.T) {
	s, r := newProvenSession(t)
	c := login.Config{Refresher: r}
	bindings := map[string]bool{}
	for _, begin := range []func(context.Context, *tokenclient.Session, login.Config) error{login.Browser, login.Device} {
		asked := ""
		c.Prompt = func(_ context.Context, p login.Prompt) error {
			if p.UserCode != "" {
				return nil
			}
			u, err := url.Parse(p.URL)
			if err == nil {
				asked = u.Query().Get("dpop_jkt")
				_, err = fetch(p.URL)
			}
			if len(asked) != 43 { // a SHA-256 in base64url
				t.Errorf("dpop_jkt is %q", asked)
			}
			return err
		}
		if err := begin(t.Context(), s, c); err != nil {
			t.Fatal(err)
		}
		token, err := s.Peek(t.Context())
		if err != nil || token.Binding == "" || bindings[token.Binding] || token.TokenType != "DPoP" {
			t.Fatalf("the session has %v, %v", token, err)
		}
		bindings[token.Binding] = true
		if _, err := s.Refresh(t.Context()); err != nil { // with the same key, or the server refuses
			t.Error(err)
		}
		resp, err := s.Client().Get(r.Issuer + "/api/things")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	}
}

// TestDPoPCodeOfAnotherKey: a code is of use to the key that dpop_jkt has named, and to no
// other (RFC 9449, section 10).
func TestDPoPCodeOfAnotherKey(t *testing.T) {
	s, r := newProvenSession(t)
	err := login.Browser(t.Context(), s, login.Config{Refresher: r, Prompt: func(_ context.Context, p login.Prompt) error {
		u, err := url.Parse(p.URL)
		if err != nil {
			return err
		}
		q := u.Query()
		q.Set("dpop_jkt", "of-another-key-and-as-long-as-a-thumbprint-")
		u.RawQuery = q.Encode()
		_, err = fetch(u.String())
		return err
	}})
	if refused, ok := errors.AsType[*tokenclient.TokenError](err); !ok || refused.Code != "invalid_grant" {
		t.Error(err)
	}
}

// newProvenSession is a session at a server whose nonces are good for one proof each.
func newProvenSession(t *testing.T) (*tokenclient.Session, *discovery.Refresher) {
	t.Helper()
	srv := tokentest.NewServer(t, &tokentest.Options{DPoP: &tokentest.DPoP{TokenNonce: true, APINonce: true, NonceUses: 1}})
	srv.Approve("alice")
	proofs := new(dpop.Prover)
	r := &discovery.Refresher{Issuer: srv.URL, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("app"), Binder: proofs}
	}}
	s, err := tokenclient.New(tokenclient.Config{Refresher: r, Attacher: proofs, Origins: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessiontest.Close(t, s) })
	return s, r
}
