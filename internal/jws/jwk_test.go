package jws_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
)

// TestJWK: coordinates have the length of the curve, also if they begin with zeros, and the
// members are those of RFC 7638 in their order.
func TestJWK(t *testing.T) {
	for curve, size := range map[elliptic.Curve]int{elliptic.P256(): 43, elliptic.P384(): 64, elliptic.P521(): 88} {
		for range 300 { // one of 256 begins with a zero
			jwk, err := jws.JWK(&ecKey(t, curve).PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			var m struct{ Kty, Crv, X, Y string }
			if err := json.Unmarshal(jwk, &m); err != nil || m.Kty != "EC" || m.Crv != curve.Params().Name || len(m.X) != size || len(m.Y) != size ||
				!strings.HasPrefix(string(jwk), `{"crv":"`+m.Crv+`","kty":"EC","x":"`) {
				t.Fatalf("%s, %v", jwk, err)
			}
		}
	}
	jwk, err := jws.JWK(rsaKey().Public())
	if err != nil || !strings.HasPrefix(string(jwk), `{"e":"AQAB","kty":"RSA","n":"`) {
		t.Errorf("%s, %v", jwk, err)
	}
	jwk, err = jws.JWK(edKey(t).Public())
	if err != nil || !strings.HasPrefix(string(jwk), `{"crv":"Ed25519","kty":"OKP","x":"`) {
		t.Errorf("%s, %v", jwk, err)
	}
	for _, none := range []any{nil, "key", (*rsa.PublicKey)(nil), &rsa.PublicKey{}, (*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{}, &ecdsa.PublicKey{Curve: elliptic.P256()}, ed25519.PublicKey("short")} {
		if _, err := jws.Thumbprint(none); err == nil {
			t.Errorf("%T has a thumbprint", none)
		}
	}
}

// TestAppendSignature: it signs as Sign does.
func TestAppendSignature(t *testing.T) {
	signer := edKey(t)
	key := mustKey(t, signer)
	whole, err := key.Sign(nil, map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := key.AppendSignature([]byte(whole[:strings.LastIndexByte(whole, '.')]))
	if err != nil || string(got) != whole { // Ed25519 is deterministic
		t.Errorf("%s, %v, want %s", got, err, whole)
	}
	if key.Algorithm() != "EdDSA" || key.Public() == nil {
		t.Error("no algorithm, or no public key")
	}
	secret, err := jws.NewSecret(strings.Repeat("s", 32), "")
	if err != nil || secret.Public() != nil {
		t.Errorf("a secret has a public key, %v", err)
	}
}
