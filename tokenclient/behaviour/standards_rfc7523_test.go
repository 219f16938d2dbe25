package behaviour_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

// lastForm is what the last request had.
func (w *rfcWire) lastForm(t *testing.T) url.Values {
	t.Helper()
	sent := w.got()
	if len(sent) == 0 {
		t.Fatal("nothing was sent")
	}
	form, err := url.ParseQuery(sent[len(sent)-1].form)
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// at is w's refresher with the URL of the examples of RFC 7523, 8693 and 8707.
func (w *rfcWire) at(tokenURL string, auth tokenclient.ClientAuth) *tokenclient.OAuth2Refresher {
	r := w.refresher(auth)
	r.TokenURL = tokenURL
	return r
}

// TestRFC7523Grant: section 2.1, with one assertion, whoever has signed it.
func TestRFC7523Grant(t *testing.T) {
	const assertion = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP" // as it is printed, shortened
	w := &rfcWire{answers: []string{rfc6749Answer}}
	r := w.at("https://as.example.com/token.oauth2", clientauth.NoClient())
	r.Grant = grant.JWTBearer(returning(assertion))
	if _, err := r.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.wantSent(t, "2.1", `
POST /token.oauth2 HTTP/1.1
Host: as.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer
&assertion=`+assertion)
	r.Scope = "a b"
	if _, err := r.Refresh(t.Context(), nil); err != nil || w.lastForm(t).Get("scope") != "a b" {
		t.Errorf("with a scope: %v, %v", w.lastForm(t), err)
	}
}

// TestRFC7523Client: section 2.2, with a code. The assertion is signed anew each time, so
// its header is compared; client_id, which RFC 7521, section 4.2, leaves open, is its sub.
func TestRFC7523Client(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := &rfcWire{answers: []string{rfc6749Answer}}
	r := w.at("https://as.example.com/token.oauth2", clientauth.PrivateKeyJWT("s6BhdRkqt3", key, &clientauth.JWTOptions{KeyID: "22"}))
	if _, err := r.Login(t.Context(), url.Values{"grant_type": {"authorization_code"}, "code": {"n0esc3NRze7LTCu7iYzS6a5acc3f0ogp4"}}); err != nil {
		t.Fatal(err)
	}
	form := w.lastForm(t)
	w.wantSent(t, "2.2", `
POST /token.oauth2 HTTP/1.1
Host: as.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code&
code=n0esc3NRze7LTCu7iYzS6a5acc3f0ogp4&
client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A
client-assertion-type%3Ajwt-bearer&client_id=s6BhdRkqt3&
client_assertion=`+form.Get("client_assertion"))
	token, err := jwt.Parse(form.Get("client_assertion"), func(*jwt.Token) (any, error) { return key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithSubject("s6BhdRkqt3"), jwt.WithIssuer("s6BhdRkqt3"),
		jwt.WithAudience("https://as.example.com/token.oauth2"), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	example, _, err := jwt.NewParser().ParseUnverified("eyJhbGciOiJSUzI1NiIsImtpZCI6IjIyIn0.e30.", jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range example.Header {
		if token.Header[name] != want {
			t.Errorf("header %v, want %s %v", token.Header, name, want)
		}
	}
}

// TestRFC7523Assertion: the claims of section 4, at the time at which they were made.
func TestRFC7523Assertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(time.Unix(1300815780+10, 0))) // nbf is ten seconds ago
		w := &rfcWire{answers: []string{rfc6749Answer}}
		r := w.at("https://authz.example.net/token.oauth2", clientauth.NoClient())
		r.Grant = grant.SignedJWT(key, grant.Assertion{
			Issuer: "https://jwt-idp.example.com", Subject: "mailto:mike@example.com", Audience: "https://jwt-rp.example.net",
			Claims: map[string]any{"http://claims.example.com/member": true}, KeyID: "16", Lifetime: time.Hour,
		})
		if _, err := r.Refresh(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		form := w.lastForm(t)
		token, err := jwt.Parse(form.Get("assertion"), func(*jwt.Token) (any, error) { return key.Public(), nil }, jwt.WithValidMethods([]string{"ES256"}))
		if err != nil {
			t.Fatal(err)
		}
		claims := token.Claims.(jwt.MapClaims)
		for name, want := range map[string]any{
			"iss": "https://jwt-idp.example.com", "sub": "mailto:mike@example.com", "aud": "https://jwt-rp.example.net",
			"nbf": 1300815780.0, "exp": 1300819380.0, "http://claims.example.com/member": true,
		} {
			if claims[name] != want {
				t.Errorf("claim %s is %v, want %v", name, claims[name], want)
			}
		}
		if token.Header["alg"] != "ES256" || token.Header["kid"] != "16" || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			t.Errorf("header %v, grant_type %s", token.Header, form.Get("grant_type"))
		}
	})
}

// TestRFC7523Errors: an assertion that is refused is a grant or a client that is refused
// (sections 3.1 and 3.2). A session without a login does not ask for one.
func TestRFC7523Errors(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_client"} {
		answer := "HTTP/1.1 400 Bad Request\nContent-Type: application/json\nCache-Control: no-store\n\n" +
			`{"error":"` + code + `","error_description":"Audience validation failed"}`
		w := &rfcWire{answers: []string{answer, rfc6749Answer}}
		r := w.at("https://as.example.com/token.oauth2", clientauth.NoClient())
		r.Grant = grant.JWTBearer(returning("a.b.c"))
		s := rfcSession(t, r)
		_, err := s.Refresh(t.Context())
		failed := wantTokenError(t, code, err)
		if failed.Code != code || failed.Description != "Audience validation failed" || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%s: %v", code, err)
		}
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Errorf("%s: the session has ended: %v", code, err)
		}
	}
}
