package clientauth_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
)

func TestJWT(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("s", 64)
	thumbprint := map[string]any{"x5t#S256": "thumbprint", "typ": "client-authentication+jwt"}
	for _, c := range []struct {
		name   string
		auth   tokenclient.ClientAuth
		public any
		header map[string]any
		aud    string
		exp    float64 // seconds from now
	}{
		{"ECDSA", clientauth.PrivateKeyJWT("app", p256(), nil), p256().Public(), map[string]any{"alg": "ES256", "typ": "JWT"}, tokenURL, 50},
		{"RSA", clientauth.PrivateKeyJWT("app", rsaKey, new(clientauth.JWTOptions)), rsaKey.Public(), map[string]any{"alg": "RS256", "typ": "JWT"}, tokenURL, 50},
		{"Ed25519", clientauth.PrivateKeyJWT("app", edKey, nil), edKey.Public(), map[string]any{"alg": "EdDSA", "typ": "JWT"}, tokenURL, 50},
		{"all options", clientauth.PrivateKeyJWT("app", rsaKey, &clientauth.JWTOptions{
			Audience: "https://issuer.example.com", Algorithm: "PS256", KeyID: "key-1", Header: thumbprint, Lifetime: 5 * time.Minute,
		}), rsaKey.Public(), map[string]any{"alg": "PS256", "kid": "key-1", "typ": "client-authentication+jwt", "x5t#S256": "thumbprint"}, "https://issuer.example.com", 290},
		{"secret", clientauth.ClientSecretJWT("app", plantedSecret, nil), []byte(plantedSecret), map[string]any{"alg": "HS256", "typ": "JWT"}, tokenURL, 50},
		{"secret, all options", clientauth.ClientSecretJWT("app", long, &clientauth.JWTOptions{
			Audience: "a", Algorithm: "HS512", KeyID: "k", Header: map[string]any{"x": "y"}, Lifetime: time.Hour,
		}), []byte(long), map[string]any{"alg": "HS512", "kid": "k", "typ": "JWT", "x": "y"}, "a", 3590},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := float64(time.Now().Unix())
				form, added := authenticated(t, c.auth)
				header, claims := assertion(t, form, c.public)
				if len(form) != 3 || form.Get("client_id") != "app" || len(added) != 0 {
					t.Errorf("form %v, header %v", form, added)
				}
				if fmt.Sprint(header) != fmt.Sprint(c.header) {
					t.Errorf("header %v, want %v", header, c.header)
				}
				jti := claims["jti"]
				want := map[string]any{"iss": "app", "sub": "app", "aud": c.aud, "jti": jti, "iat": now - 10, "nbf": now - 10, "exp": now + c.exp}
				if fmt.Sprint(claims) != fmt.Sprint(want) || jti == "" || jti == nil {
					t.Errorf("claims %v, want %v", claims, want)
				}
			})
		})
	}
	if len(thumbprint) != 2 {
		t.Errorf("the caller's header was changed: %v", thumbprint)
	}
}

// TestJWTOptionsAreCopied: what a program does with them later changes nothing.
func TestJWTOptionsAreCopied(t *testing.T) {
	o := &clientauth.JWTOptions{Audience: "a", KeyID: "k", Header: map[string]any{"x": "y"}}
	auth := clientauth.PrivateKeyJWT("app", p256(), o)
	o.Header["x"], o.Header["alg"] = "changed", "none"
	*o = clientauth.JWTOptions{}
	form, _ := authenticated(t, auth)
	header, claims := assertion(t, form, p256().Public())
	if header["x"] != "y" || header["alg"] != "ES256" || header["kid"] != "k" || claims["aud"] != "a" {
		t.Errorf("header %v, claims %v", header, claims)
	}
}

// TestJWTOfEachTry: an answer is lost, the session tries once more, and the server sees a
// jti that it has not seen. Each endpoint is the audience of what it gets.
func TestJWTOfEachTry(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, _ url.Values, n int) {
		if n == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, `{"access_token":"access-2","refresh_token":"refresh-2","expires_in":900}`)
	})
	auth := clientauth.PrivateKeyJWT("app", p256(), nil)
	if _, err := e.session(t, auth).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &tokenclient.OAuth2Refresher{RevocationURL: e.URL + "/revoke", ClientAuth: auth}
	if err := r.Revoke(t.Context(), &tokenclient.Token{RefreshToken: "refresh-2"}); err != nil {
		t.Fatal(err)
	}
	forms, seen := e.got(), map[any]bool{}
	for i, path := range []string{"/token", "/token", "/revoke"} {
		if len(forms) != 3 {
			t.Fatalf("%d requests", len(forms))
		}
		_, claims := assertion(t, forms[i], p256().Public())
		if claims["aud"] != e.URL+path {
			t.Errorf("request %d: aud %v", i, claims["aud"])
		}
		seen[claims["jti"]] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different jti", len(seen))
	}
}

// failing is a signer whose key is out of reach.
type failing struct{ crypto.Signer }

var errHSM = errors.New("the HSM does not answer")

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errHSM }

// TestJWTNotSigned: nothing is sent, and the session keeps its token.
func TestJWTNotSigned(t *testing.T) {
	e := newEndpoint(t, func(http.ResponseWriter, url.Values, int) {})
	s := e.session(t, clientauth.PrivateKeyJWT("app", failing{p256()}, nil))
	_, err := s.Refresh(t.Context())
	if !errors.Is(err, errHSM) || !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("error %v", err)
	}
	if want := "client authentication: signing by ES256: the HSM does not answer"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if token, err := s.Token(t.Context()); err != nil || token.RefreshToken != "refresh-1" || len(e.got()) != 0 {
		t.Errorf("token %v, %v, %d requests", token, err, len(e.got()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	form := url.Values{}
	err = clientauth.PrivateKeyJWT("app", failing{p256()}, nil).Authenticate(ctx, tokenURL, form, http.Header{})
	if !errors.Is(err, context.Canceled) || len(form) != 0 {
		t.Errorf("with a context that has ended: %v, form %v", err, form)
	}
}

// TestJWTInAnAnswer: a server that quotes the assertion gets it into no error.
func TestJWTInAnAnswer(t *testing.T) {
	for _, cut := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return s[len(s)-40:] },
		url.QueryEscape,
	} {
		e := newEndpoint(t, func(w http.ResponseWriter, form url.Values, _ int) {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{
				"error": "invalid_client", "error_description": "cannot verify " + cut(form.Get("client_assertion")),
			})
		})
		_, err := e.session(t, clientauth.ClientSecretJWT("app", plantedSecret, nil)).Refresh(t.Context())
		var failed *tokenclient.TokenError
		if !errors.As(err, &failed) || failed.Code != "invalid_client" || failed.Description != "[redacted]" {
			t.Errorf("error %v", err)
		}
	}
}

// TestMistakes: what can never work is told by New, and a JWT that cannot be made is not
// sent.
func TestMistakes(t *testing.T) {
	jwt := func(change func(*clientauth.JWTOptions)) tokenclient.ClientAuth {
		o := new(clientauth.JWTOptions)
		change(o)
		return clientauth.PrivateKeyJWT("app", p256(), o)
	}
	for _, c := range []struct {
		auth tokenclient.ClientAuth
		want string
	}{
		{clientauth.PrivateKeyJWT("", p256(), nil), "PrivateKeyJWT has an empty client id"},
		{clientauth.PrivateKeyJWT("app\n", p256(), nil), "the client id of PrivateKeyJWT has a control character in it"},
		{clientauth.PrivateKeyJWT("app", nil, nil), "PrivateKeyJWT: the key is nil or empty; assign a crypto.Signer"},
		{jwt(func(o *clientauth.JWTOptions) { o.Algorithm = "RS256" }), `PrivateKeyJWT: the Algorithm "RS256" is not for this key, which is ECDSA on P-256; leave it empty`},
		{jwt(func(o *clientauth.JWTOptions) { o.Algorithm = "HS256" }), `PrivateKeyJWT: the Algorithm "HS256" is not for this key`},
		{jwt(func(o *clientauth.JWTOptions) { o.Algorithm = "none" }), `PrivateKeyJWT: the Algorithm "none" is not for this key`},
		{jwt(func(o *clientauth.JWTOptions) { o.Lifetime = 60 }), "PrivateKeyJWT: the Lifetime is 60ns, and an assertion begins 10s before it is sent; take a longer one, like time.Minute"},
		{jwt(func(o *clientauth.JWTOptions) { o.Lifetime = -time.Minute }), "PrivateKeyJWT: the Lifetime is -1m0s"},
		{jwt(func(o *clientauth.JWTOptions) { o.Header = map[string]any{"kid": "x"} }), "PrivateKeyJWT: the Header must not hold kid; set Algorithm or KeyID"},
		{jwt(func(o *clientauth.JWTOptions) { o.Header = map[string]any{"x": math.Inf(1)} }), "PrivateKeyJWT: the Header has a member that cannot be JSON"},
		{jwt(func(o *clientauth.JWTOptions) { o.KeyID = "key-1\n" }), "PrivateKeyJWT: the KeyID has a control character in it"},
		{jwt(func(o *clientauth.JWTOptions) { o.Audience = tokenURL + "\n" }), "PrivateKeyJWT: the Audience has a control character in it"},
		{clientauth.ClientSecretJWT("", plantedSecret, nil), "ClientSecretJWT has an empty client id"},
		{clientauth.ClientSecretJWT("app", "", nil), "ClientSecretJWT has an empty client secret"},
		{clientauth.ClientSecretJWT("app", plantedSecret+"\n", nil), "the client secret of ClientSecretJWT has a control character in it"},
		{clientauth.ClientSecretJWT("app", "planted-short", nil), "ClientSecretJWT: the secret has 13 bytes, and HS256 needs 32 or more (RFC 7518, section 3.2)"},
		{clientauth.ClientSecretJWT("app", plantedSecret, &clientauth.JWTOptions{Algorithm: "HS384"}), "ClientSecretJWT: the secret has 43 bytes, and HS384 needs 48"},
		{clientauth.ClientSecretJWT("app", plantedSecret, &clientauth.JWTOptions{Algorithm: "ES256"}), `ClientSecretJWT: the Algorithm "ES256" is not for this key, which is a secret; leave it empty, or take one of HS256, HS384, HS512`},
		{clientauth.PlainBasic("", plantedSecret), "PlainBasic has an empty client id"},
		{clientauth.PlainBasic("my:app", plantedSecret), "the client id of PlainBasic has a colon in it, at which the server would cut it off (RFC 7617, section 2)"},
		{clientauth.PlainBasic("app", ""), "PlainBasic has an empty client secret"},
		{clientauth.PlainBasic("app", plantedSecret+"\r"), "the client secret of PlainBasic has a control character in it"},
		{clientauth.MutualTLS(""), "MutualTLS has an empty client id"},
		{clientauth.MutualTLS("app\x00"), "the client id of MutualTLS has a control character in it"},
	} {
		_, err := tokenclient.New(tokenclient.Config{
			Refresher: &tokenclient.OAuth2Refresher{TokenURL: tokenURL, ClientAuth: c.auth},
			Origins:   []string{"https://api.example.com"},
		})
		if err == nil || !strings.HasPrefix(err.Error(), "tokenclient: Config.Refresher: OAuth2Refresher.ClientAuth: "+c.want) {
			t.Errorf("New: %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "planted") {
			t.Errorf("a secret in %v", err)
		}
		form := url.Values{}
		if err := c.auth.Authenticate(t.Context(), tokenURL, form, http.Header{}); strings.Contains(c.want, "JWT: ") && (err == nil || !strings.HasPrefix(err.Error(), c.want) || len(form) != 0) {
			t.Errorf("Authenticate: %v, form %v, want %q", err, form, c.want)
		}
	}
}
