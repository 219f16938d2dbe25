package grant_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

const bearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

func TestJWTBearer(t *testing.T) {
	got, err := grant.JWTBearer(returning("eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP")).Params(t.Context(), new(tokenclient.Token))
	want := url.Values{"grant_type": {bearerGrant}, "assertion": {"eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP"}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// TestSignedJWT has the shapes that well-known servers ask for.
func TestSignedJWT(t *testing.T) {
	for name, c := range map[string]struct {
		a      grant.Assertion
		header map[string]any
		claims map[string]any // beside those that all have
		exp    float64        // seconds from now
	}{
		"Google": {
			grant.Assertion{
				Issuer: "worker@project.iam.gserviceaccount.com", Audience: "https://oauth2.googleapis.com/token",
				Scope: "https://www.googleapis.com/auth/prediction", KeyID: "370ab79b", Lifetime: time.Hour,
			},
			map[string]any{"alg": "ES256", "typ": "JWT", "kid": "370ab79b"},
			map[string]any{
				"iss": "worker@project.iam.gserviceaccount.com", "aud": "https://oauth2.googleapis.com/token",
				"scope": "https://www.googleapis.com/auth/prediction",
			}, 3590,
		},
		"Salesforce": {
			grant.Assertion{Issuer: "3MVG99OxTyEMCQ3g", Subject: "my@email.com", Audience: "https://login.salesforce.com"},
			map[string]any{"alg": "ES256", "typ": "JWT"},
			map[string]any{"iss": "3MVG99OxTyEMCQ3g", "sub": "my@email.com", "aud": "https://login.salesforce.com"}, 50,
		},
		"DocuSign": {
			grant.Assertion{Issuer: "client-id", Subject: "user-guid", Audience: "account.docusign.com", Scope: "signature impersonation"},
			map[string]any{"alg": "ES256", "typ": "JWT"},
			map[string]any{"iss": "client-id", "sub": "user-guid", "aud": "account.docusign.com", "scope": "signature impersonation"}, 50,
		},
		"Box": {
			grant.Assertion{
				Issuer: "client-id", Subject: "1234567", Audience: "https://api.box.com/oauth2/token",
				Claims: map[string]any{"box_sub_type": "enterprise"}, Header: map[string]any{"x": "y"}, Lifetime: 45 * time.Second,
			},
			map[string]any{"alg": "ES256", "typ": "JWT", "x": "y"},
			map[string]any{"iss": "client-id", "sub": "1234567", "aud": "https://api.box.com/oauth2/token", "box_sub_type": "enterprise"}, 35,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := float64(time.Now().Unix())
				g := grant.SignedJWT(p256(), c.a)
				for m := range c.a.Claims {
					c.a.Claims[m] = "changed later"
				}
				got, err := g.Params(t.Context(), new(tokenclient.Token))
				if err != nil || len(got) != 2 || got.Get("grant_type") != bearerGrant {
					t.Fatalf("%v, %v", got, err)
				}
				header, claims := parsed(t, got.Get("assertion"))
				if fmt.Sprint(header) != fmt.Sprint(c.header) {
					t.Errorf("header %v, want %v", header, c.header)
				}
				c.claims["iat"], c.claims["nbf"], c.claims["exp"], c.claims["jti"] = now-10, now-10, now+c.exp, claims["jti"]
				if fmt.Sprint(claims) != fmt.Sprint(c.claims) || claims["jti"] == nil {
					t.Errorf("claims %v, want %v", claims, c.claims)
				}
			})
		})
	}
}

// TestSignedJWTOfEachTry: an answer is lost, the session tries once more, and the server
// sees a jti that it has not seen.
func TestSignedJWTOfEachTry(t *testing.T) {
	s := newServer(t)
	s.answer = func(w http.ResponseWriter, _ url.Values, n int) bool {
		if n == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
		return n > 1
	}
	session := s.session(t, grant.SignedJWT(p256(), grant.Assertion{Issuer: "worker", Audience: "a"}))
	if _, err := session.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	forms, seen := s.got(), map[any]bool{}
	for _, form := range forms {
		_, claims := parsed(t, form.Get("assertion"))
		seen[claims["jti"]] = true
	}
	if len(forms) != 2 || len(seen) != 2 {
		t.Errorf("%d requests, %d different jti", len(forms), len(seen))
	}
}

// failing is a signer whose key is out of reach.
type failing struct{ crypto.Signer }

var errHSM = errors.New("the HSM does not answer")

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errHSM }

func TestSignedJWTNotSigned(t *testing.T) {
	s := newServer(t)
	g := grant.SignedJWT(failing{p256()}, grant.Assertion{Issuer: "worker", Audience: "a"})
	_, err := s.session(t, g).Token(t.Context())
	if !errors.Is(err, errHSM) || !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) || len(s.got()) != 0 {
		t.Errorf("error %v, %d requests", err, len(s.got()))
	}
	if err == nil || !strings.Contains(err.Error(), "signing by ES256: the HSM does not answer") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if form, err := g.Params(ctx, new(tokenclient.Token)); !errors.Is(err, context.Canceled) || form != nil {
		t.Errorf("with a context that has ended: %v, %v", form, err)
	}
}
