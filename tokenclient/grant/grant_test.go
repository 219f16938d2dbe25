package grant_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

// grants has one of each, with what it sends that is secret, and what is not.
func grants() map[string]tokenclient.Grant {
	return map[string]tokenclient.Grant{
		"client credentials": grant.ClientCredentials{},
		"token exchange":     grant.TokenExchange{Subject: returning(planted), Actor: returning(planted + "-actor"), Audience: []string{"billing"}},
		"pointer":            &grant.TokenExchange{Subject: returning(planted)},
		"JWT bearer":         grant.JWTBearer(returning(planted)),
		"signed JWT":         grant.SignedJWT(p256(), grant.Assertion{Issuer: "worker", Audience: "https://auth.example.com"}),
	}
}

// TestSession: a session with a grant needs no login and no store. It fetches a token for
// the first request and one more when that is refused, and nothing in between.
func TestSession(t *testing.T) {
	for name, g := range grants() {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			session := s.session(t, g)
			s.get(t, session)
			s.get(t, session)
			if n := len(s.got()); n != 1 {
				t.Errorf("%d tokens were asked for, want 1", n)
			}
			s.revoke()
			s.get(t, session)
			forms := s.got()
			if len(forms) != 2 {
				t.Fatalf("%d tokens were asked for, want 2", len(forms))
			}
			for _, form := range forms {
				if form.Has("refresh_token") || form.Get("grant_type") == "" || form.Get("scope") != "read" {
					t.Errorf("form %v", form)
				}
			}
		})
	}
}

// TestServerQuotes: what a server quotes of a grant gets into no error, and no refusal
// ends the session.
func TestServerQuotes(t *testing.T) {
	for name, g := range grants() {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.answer = func(w http.ResponseWriter, form url.Values, n int) bool {
				if n > 1 {
					return true
				}
				w.WriteHeader(http.StatusBadRequest)
				quoted := form.Get("assertion") + form.Get("subject_token") + " " + form.Get("actor_token")
				_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": "bad: " + quoted})
				return false
			}
			session := s.session(t, g)
			_, err := session.Token(t.Context())
			var failed *tokenclient.TokenError
			if !errors.As(err, &failed) || failed.Code != "invalid_grant" || errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Fatalf("error %v", err)
			}
			if _, isNone := g.(grant.ClientCredentials); !isNone && failed.Description != "[redacted]" || strings.Contains(err.Error(), "planted") {
				t.Errorf("error %v", err)
			}
			if _, err := session.Refresh(t.Context()); err != nil {
				t.Errorf("the session has ended: %v", err)
			}
		})
	}
}

// TestNothingIsSent: a function that fails, or returns what cannot be sent, costs
// nothing, and the need of a login of another session is not that of this one.
func TestNothingIsSent(t *testing.T) {
	broken := errors.New("no such file")
	login := fmt.Errorf("of the other session: %w", tokenclient.ErrLoginRequired)
	failing := func(err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return "", err }
	}
	for _, c := range []struct {
		name string
		g    tokenclient.Grant
		want string
		is   error
	}{
		{"subject fails", grant.TokenExchange{Subject: failing(broken)}, "no subject_token: no such file", broken},
		{"subject needs a login", grant.TokenExchange{Subject: failing(login)}, "no subject_token: of the other session: ", nil},
		{"subject is empty", grant.TokenExchange{Subject: returning("")}, "the function for the subject_token returned an empty string", nil},
		{"subject of a file", grant.TokenExchange{Subject: returning(planted + "\n")}, "the function for the subject_token returned a control character, such as the line break at the end of a file; use strings.TrimSpace", nil},
		{"actor fails", grant.TokenExchange{Subject: returning(planted), Actor: failing(broken)}, "no actor_token: no such file", broken},
		{"actor is empty", grant.TokenExchange{Subject: returning(planted), Actor: returning("")}, "the function for the actor_token returned an empty string", nil},
		{"assertion fails", grant.JWTBearer(failing(broken)), "no assertion: no such file", broken},
		{"assertion takes too long", grant.JWTBearer(failing(context.DeadlineExceeded)), "no assertion: context deadline exceeded", context.DeadlineExceeded},
		{"assertion of a file", grant.JWTBearer(returning(planted + "\r\n")), "the function for the assertion returned a control character", nil},
	} {
		s := newServer(t)
		_, err := s.session(t, c.g).Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if errors.Is(err, tokenclient.ErrLoginRequired) || !errors.Is(err, tokenclient.ErrNotPresented) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is what it should not be", c.name, err)
		}
		if n := len(s.got()); n != 0 {
			t.Errorf("%s: the server was asked %d times", c.name, n)
		}
	}
}

// TestMistakes: what can never work is told by New, by the field and with the remedy, and
// by Params to those who ask none.
func TestMistakes(t *testing.T) {
	signed := func(change func(*grant.Assertion)) tokenclient.Grant {
		a := grant.Assertion{Issuer: "worker", Audience: "https://auth.example.com", Scope: "read"}
		change(&a)
		return grant.SignedJWT(p256(), a)
	}
	some := returning(planted)
	for _, c := range []struct {
		g    tokenclient.Grant
		want string
	}{
		{grant.TokenExchange{}, "TokenExchange.Subject is nil; set it to a function"},
		{grant.TokenExchange{Subject: some, ActorType: grant.TypeJWT}, "TokenExchange.ActorType is set, and Actor is nil; set both"},
		{grant.TokenExchange{Subject: some, Audience: []string{"a", ""}}, "TokenExchange.Audience has an empty name"},
		{grant.TokenExchange{Subject: some, Resource: []string{"api.example.com"}}, "TokenExchange.Resource has what is no absolute URI"},
		{grant.TokenExchange{Subject: some, Resource: []string{"https://api.example.com", ""}}, "TokenExchange.Resource has what is no absolute URI"},
		{grant.TokenExchange{Subject: some, Resource: []string{"https://api.example.com/#planted"}}, "TokenExchange.Resource has what is no absolute URI"},
		{grant.TokenExchange{Subject: some, Resource: []string{"https://api.example.com/#"}}, "TokenExchange.Resource has what is no absolute URI"},
		{grant.TokenExchange{Subject: some, Resource: []string{"https://api.example.com\n"}}, "TokenExchange.Resource has what is no absolute URI"},
		{(*grant.TokenExchange)(nil), "holds a nil pointer, a *grant.TokenExchange"},
		{grant.JWTBearer(nil), "holds a nil pointer, a grant.JWTBearer"},
		{grant.SignedJWT(nil, grant.Assertion{Issuer: "a", Audience: "b"}), "SignedJWT: the key is nil or empty; assign a crypto.Signer"},
		{signed(func(a *grant.Assertion) { a.Algorithm = "RS256" }), `SignedJWT: the Algorithm "RS256" is not for this key, which is ECDSA on P-256`},
		{signed(func(a *grant.Assertion) { a.Algorithm = "HS256" }), `SignedJWT: the Algorithm "HS256" is not for this key`},
		{signed(func(a *grant.Assertion) { a.Issuer = "" }), "SignedJWT: the Issuer is empty; it is the service account"},
		{signed(func(a *grant.Assertion) { a.Audience = "" }), "SignedJWT: the Audience is empty; it is mostly the URL of the token endpoint"},
		{signed(func(a *grant.Assertion) { a.Issuer += "\n" }), "SignedJWT: the Issuer has a control character in it"},
		{signed(func(a *grant.Assertion) { a.Subject = "alice\n" }), "SignedJWT: the Subject has a control character in it"},
		{signed(func(a *grant.Assertion) { a.Audience += "\n" }), "SignedJWT: the Audience has a control character in it"},
		{signed(func(a *grant.Assertion) { a.Scope += "\n" }), "SignedJWT: the Scope has a control character in it"},
		{signed(func(a *grant.Assertion) { a.KeyID = "k\n" }), "SignedJWT: the KeyID has a control character in it"},
		{signed(func(a *grant.Assertion) { a.Lifetime = 3600 }), "SignedJWT: the Lifetime is 3.6µs"},
		{signed(func(a *grant.Assertion) { a.Claims = map[string]any{"scope": "x"} }), "SignedJWT: the Claims must not hold scope, which is made of the field Scope"},
		{signed(func(a *grant.Assertion) { a.Claims = map[string]any{"exp": 1} }), "SignedJWT: the Claims must not hold exp"},
		{signed(func(a *grant.Assertion) { a.Header = map[string]any{"alg": "none"} }), "SignedJWT: the Header must not hold alg"},
	} {
		_, err := tokenclient.New(tokenclient.Config{
			Refresher: &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: clientauth.NoClient(), Grant: c.g},
			Origins:   []string{"https://api.example.com"},
		})
		if err == nil || !strings.HasPrefix(err.Error(), "tokenclient: Config.Refresher: OAuth2Refresher.Grant") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("New: %v, want %q", err, c.want)
		}
		if strings.HasPrefix(c.want, "SignedJWT") {
			if form, err := c.g.Params(t.Context(), new(tokenclient.Token)); form != nil || err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("Params: %v, %v, want %q", form, err, c.want)
			}
		}
	}
	for _, g := range []tokenclient.Grant{grant.TokenExchange{}, grant.JWTBearer(nil)} {
		if form, err := g.Params(t.Context(), new(tokenclient.Token)); form != nil || err == nil {
			t.Errorf("Params of %v: %v, %v", g, form, err)
		}
	}
}

func TestClientCredentials(t *testing.T) {
	got, err := grant.ClientCredentials{}.Params(t.Context(), new(tokenclient.Token))
	if want := (url.Values{"grant_type": {"client_credentials"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestPrintsNoSecret tries all verbs on the grants, wherever they are.
func TestPrintsNoSecret(t *testing.T) {
	seed := []byte("planted-seed-of-exactly-32-bytes")
	all := grants()
	all["Ed25519"] = grant.SignedJWT(ed25519.NewKeyFromSeed(seed), grant.Assertion{Issuer: "worker", Audience: "a"})
	all["wrong"] = grant.SignedJWT(ed25519.NewKeyFromSeed(seed), grant.Assertion{})
	type hidden struct{ g tokenclient.Grant }
	for name, g := range all {
		refresher := &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: clientauth.NoClient(), Grant: g}
		for _, v := range []any{g, hidden{g}, &hidden{g}, []tokenclient.Grant{g}, refresher} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%o", "%c", "%t"} {
				s := strings.ToLower(fmt.Sprintf(verb, v))
				if strings.Contains(s, "planted") || strings.Contains(s, hex.EncodeToString([]byte("planted"))) || strings.Contains(s, strings.Trim(fmt.Sprint(seed[:8]), "[]")) {
					t.Errorf("%s of %s in %T: %s", verb, name, v, s)
				}
			}
			if b, err := json.Marshal(v); err != nil || strings.Contains(string(b), "planted") {
				t.Errorf("JSON of %s in %T: %s, %v", name, v, b, err)
			}
		}
	}
	for name, want := range map[string]string{
		"client credentials": "{}",
		"token exchange":     `TokenExchange{audience ["billing"], resource []}`,
		"JWT bearer":         "JWTBearer",
		"signed JWT":         `SignedJWT("worker")`,
	} {
		if got := fmt.Sprint(all[name]); got != want {
			t.Errorf("%s is printed as %s, want %s", name, got, want)
		}
	}
}
