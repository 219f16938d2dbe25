package jws_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
)

// parsed returns header and claims of a token that key has signed.
func parsed(t *testing.T, signed string, public any) (header map[string]any, claims jwt.MapClaims) {
	t.Helper()
	token, err := jwt.Parse(signed, func(*jwt.Token) (any, error) { return public, nil }, jwt.WithIssuedAt(), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	return token.Header, token.Claims.(jwt.MapClaims)
}

func TestAssertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer := edKey(t)
		a := &jws.Assertion{Key: mustKey(t, signer), Issuer: "app", Subject: "alice"}
		now := float64(time.Now().Unix())
		signed, err := a.Sign("https://auth.example.com")
		if err != nil {
			t.Fatal(err)
		}
		header, claims := parsed(t, signed, signer.Public())
		if len(header) != 2 || header["alg"] != "EdDSA" || header["typ"] != "JWT" {
			t.Errorf("header %v", header)
		}
		for name, want := range map[string]any{
			"iss": "app", "sub": "alice", "aud": "https://auth.example.com",
			"iat": now - 10, "nbf": now - 10, "exp": now + 50,
		} {
			if claims[name] != want {
				t.Errorf("%s = %v, want %v", name, claims[name], want)
			}
		}
		if jti, _ := claims["jti"].(string); len(jti) < 22 || len(claims) != 7 { // 128 bits in base64
			t.Errorf("claims %v", claims)
		}

		a.Subject, a.KeyID, a.Lifetime = "", "key-1", 5*time.Minute
		a.Header = map[string]any{"x5t#S256": "x", "typ": "client-authentication+jwt"}
		a.Claims = map[string]any{"scope": "read", "box_sub_type": "user"}
		if signed, err = a.Sign("aud"); err != nil {
			t.Fatal(err)
		}
		header, claims = parsed(t, signed, signer.Public())
		if header["kid"] != "key-1" || header["x5t#S256"] != "x" || header["typ"] != "client-authentication+jwt" || len(a.Header) != 2 {
			t.Errorf("header %v of %v", header, a.Header)
		}
		if _, is := claims["sub"]; is || claims["exp"] != now+290 || claims["scope"] != "read" || claims["box_sub_type"] != "user" || len(a.Claims) != 2 {
			t.Errorf("claims %v of %v", claims, a.Claims)
		}
	})
}

// TestAssertionIsNew: none has the jti of another, also within one second.
func TestAssertionIsNew(t *testing.T) {
	signer := edKey(t)
	a := &jws.Assertion{Key: mustKey(t, signer), Issuer: "app"}
	seen := map[any]bool{}
	for range 100 {
		signed, err := a.Sign("aud")
		if err != nil {
			t.Fatal(err)
		}
		_, claims := parsed(t, signed, signer.Public())
		seen[claims["jti"]] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different jti in 100 assertions", len(seen))
	}
}

func TestAssertionChecks(t *testing.T) {
	for want, a := range map[string]jws.Assertion{
		"":                                     {Lifetime: 11 * time.Second, Header: map[string]any{"typ": "x", "x5c": []string{"a"}}, Claims: map[string]any{"scope": 1}},
		"the Header must not hold alg":         {Header: map[string]any{"alg": "none"}},
		"the Header must not hold kid":         {Header: map[string]any{"kid": nil}},
		"the Claims must not hold iss":         {Claims: map[string]any{"iss": ""}},
		"the Claims must not hold sub":         {Claims: map[string]any{"sub": ""}},
		"the Claims must not hold aud":         {Claims: map[string]any{"aud": ""}},
		"the Claims must not hold iat":         {Claims: map[string]any{"iat": 1}},
		"the Claims must not hold nbf":         {Claims: map[string]any{"nbf": 1}},
		"the Claims must not hold exp":         {Claims: map[string]any{"exp": 1}},
		"the Claims must not hold jti":         {Claims: map[string]any{"jti": 1}},
		"the Header has a member that cannot":  {Header: map[string]any{"x": make(chan int)}},
		"the Claims have a member that cannot": {Claims: map[string]any{"x": math.NaN()}},
		"the KeyID has a control character":    {KeyID: "key-1\n"},
		"the Lifetime is 60ns":                 {Lifetime: 60},
		"the Lifetime is 10s, and":             {Lifetime: 10 * time.Second},
		"the Lifetime is -1m0s, and":           {Lifetime: -time.Minute},
	} {
		err := a.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := (&jws.Assertion{Key: mustKey(t, edKey(t))}).Sign(""); err == nil {
		t.Error("an assertion for nobody")
	}
}
