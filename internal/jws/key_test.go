package jws_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
)

// remote is a key as an HSM or a KMS shows it: nothing but the methods of crypto.Signer.
type remote struct{ key crypto.Signer }

func (r remote) Public() crypto.PublicKey { return r.key.Public() }

func (r remote) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.key.Sign(random, digest, opts)
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKey: golang-jwt verifies what any signer has signed, by every algorithm, and takes it
// for no other one.
func TestKey(t *testing.T) {
	const text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	p256, p384, p521, ed := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521()), edKey(t)
	for _, c := range []struct {
		signer          crypto.Signer // nil: the secret
		algorithm, want string
	}{
		{nil, "", "HS256"}, {nil, "HS256", "HS256"}, {nil, "HS384", "HS384"}, {nil, "HS512", "HS512"},
		{rsaKey(), "", "RS256"}, {rsaKey(), "RS256", "RS256"}, {rsaKey(), "RS384", "RS384"}, {rsaKey(), "RS512", "RS512"},
		{rsaKey(), "PS256", "PS256"}, {rsaKey(), "PS384", "PS384"}, {rsaKey(), "PS512", "PS512"},
		{p256, "", "ES256"}, {p256, "ES256", "ES256"}, {p384, "", "ES384"}, {p384, "ES384", "ES384"},
		{p521, "", "ES512"}, {p521, "ES512", "ES512"}, {ed, "", "EdDSA"}, {ed, "EdDSA", "EdDSA"}, {&ed, "", "EdDSA"},
		{ed, "Ed25519", "Ed25519"},
	} {
		t.Run(fmt.Sprintf("%T, %s", c.signer, c.algorithm), func(t *testing.T) {
			if c.signer == nil {
				key, err := jws.NewSecret(text, c.algorithm)
				if err != nil {
					t.Fatal(err)
				}
				verify(t, key, c.want, []byte(text))
				return
			}
			for _, signer := range []crypto.Signer{c.signer, remote{c.signer}, &remote{c.signer}} {
				key, err := jws.NewKey(signer, c.algorithm)
				if err != nil {
					t.Fatal(err)
				}
				verify(t, key, c.want, c.signer.Public())
			}
		})
	}
}

func verify(t *testing.T, key *jws.Key, algorithm string, public any) {
	t.Helper()
	header := map[string]any{"alg": "none", "kid": "a", "x5t#S256": "b"}
	signed, err := key.Sign(header, map[string]any{"iss": "app", "n": 1})
	if err != nil {
		t.Fatal(err)
	}
	if header["alg"] != "none" || len(header) != 3 {
		t.Errorf("the caller's header was changed: %v", header)
	}
	if algorithm == "Ed25519" { // which golang-jwt knows by its old name alone
		verifyEd25519(t, signed, public.(ed25519.PublicKey))
		return
	}
	token, err := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithStrictDecoding()).
		Parse(signed, func(*jwt.Token) (any, error) { return public, nil })
	if err != nil {
		t.Fatal(err)
	}
	claims := token.Claims.(jwt.MapClaims)
	if h := token.Header; len(h) != 4 || h["kid"] != "a" || h["x5t#S256"] != "b" || h["typ"] != "JWT" || claims["iss"] != "app" {
		t.Errorf("header %v, claims %v", h, claims)
	}
	if rsaPublic, ok := public.(*rsa.PublicKey); ok && strings.HasPrefix(algorithm, "PS") {
		verifySalt(t, signed, token, rsaPublic)
	}
}

func verifyEd25519(t *testing.T, signed string, public ed25519.PublicKey) {
	t.Helper()
	part := strings.Split(signed, ".")
	header, err := base64.RawURLEncoding.DecodeString(part[0])
	if err != nil || !strings.Contains(string(header), `"alg":"Ed25519"`) {
		t.Errorf("header %s, %v", header, err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := jwt.SigningMethodEdDSA.Verify(part[0]+"."+part[1], signature, public); err != nil {
		t.Error(err)
	}
}

// verifySalt is stricter than golang-jwt, which takes salts of any length.
func verifySalt(t *testing.T, signed string, token *jwt.Token, public *rsa.PublicKey) {
	t.Helper()
	method := token.Method.(*jwt.SigningMethodRSAPSS)
	h := method.Hash.New()
	h.Write([]byte(signed[:strings.LastIndex(signed, ".")]))
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	if err := rsa.VerifyPSS(public, method.Hash, h.Sum(nil), token.Signature, opts); err != nil {
		t.Errorf("with a salt as long as the hash: %v", err)
	}
}

// hashing is a key that hashes by itself, as some HSMs insist on (crypto.MessageSigner).
type hashing struct{ remote }

func (hashing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("this key signs no digests")
}

func (h hashing) SignMessage(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	digest := sha256.Sum256(message)
	return h.key.Sign(random, digest[:], opts)
}

func TestKeyThatHashesByItself(t *testing.T) {
	signer := ecKey(t, elliptic.P256())
	key, err := jws.NewKey(hashing{remote{signer}}, "")
	if err != nil {
		t.Fatal(err)
	}
	verify(t, key, "ES256", signer.Public())
}

// odd is a signer with any public key.
type odd struct {
	remote
	public crypto.PublicKey
}

func (o odd) Public() crypto.PublicKey { return o.public }

func TestKeyRefuses(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p256, ed := ecKey(t, elliptic.P256()), edKey(t)
	for _, c := range []struct {
		name      string
		signer    crypto.Signer
		algorithm string
		want      string
	}{
		{"nil", nil, "", "the key is nil or empty; assign a crypto.Signer"},
		{"nil pointer to ECDSA", (*ecdsa.PrivateKey)(nil), "", "the key is nil or empty"},
		{"nil pointer to RSA", (*rsa.PrivateKey)(nil), "", "the key is nil or empty"},
		{"nil pointer to Ed25519", (*ed25519.PrivateKey)(nil), "", "the key is nil or empty"},
		{"nil Ed25519", ed25519.PrivateKey(nil), "", "the key is nil or empty"},
		{"short Ed25519", ed[:7], "", "the key is nil or empty"},
		{"zero RSA", new(rsa.PrivateKey), "", "RSA with less than 2048 bits"},
		{"zero ECDSA", new(ecdsa.PrivateKey), "", "Public method returns a *ecdsa.PublicKey"},
		{"RSA of 1024 bits", short, "PS256", "the key is one of RSA with less than 2048 bits (RFC 7518, section 3.3); make a longer one"},
		{"P-224", ecKey(t, elliptic.P224()), "", "the key is ECDSA on P-224, which no algorithm here is for"},
		{"a curve of 256 bits that is not P-256", odd{public: &ecdsa.PublicKey{Curve: &elliptic.CurveParams{BitSize: 256, Name: "secp256k1"}}}, "", "ECDSA on secp256k1, which no"},
		{"no public key", odd{}, "", "the key is one whose Public method returns a <nil>"},
		{"public key of another kind", odd{public: "x"}, "", "Public method returns a string, which no algorithm here is for"},
		{"algorithm of another kind", p256, "RS256", `the Algorithm "RS256" is not for this key, which is ECDSA on P-256; leave it empty, or take one of ES256`},
		{"algorithm of another curve", p256, "ES384", `the Algorithm "ES384" is not for this key`},
		{"algorithm of secrets", rsaKey(), "HS256", "take one of RS256, RS384, RS512, PS256, PS384, PS512"},
		{"algorithm with a public key as the secret", ed, "HS512", "is Ed25519; leave it empty, or take one of EdDSA, Ed25519"},
		{"none", rsaKey(), "none", `the Algorithm "none" is not for this key`},
		{"in small letters", rsaKey(), "rs256", `the Algorithm "rs256" is not for this key`},
	} {
		key, err := jws.NewKey(c.signer, c.algorithm)
		if key != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct{ text, algorithm, want string }{
		{"", "", "the secret has 0 bytes, and HS256 needs 32 or more (RFC 7518, section 3.2)"},
		{strings.Repeat("x", 31), "HS256", "has 31 bytes, and HS256 needs 32"},
		{strings.Repeat("x", 47), "HS384", "has 47 bytes, and HS384 needs 48"},
		{strings.Repeat("x", 63), "HS512", "has 63 bytes, and HS512 needs 64"},
		{strings.Repeat("x", 64), "RS256", "which is a secret; leave it empty, or take one of HS256, HS384, HS512"},
		{strings.Repeat("x", 64), "none", `the Algorithm "none" is not for this key`},
	} {
		if key, err := jws.NewSecret(c.text, c.algorithm); key != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("secret of %d bytes, %s: %v, want %q", len(c.text), c.algorithm, err, c.want)
		}
	}
}

// scripted is a P-256 or P-521 signer that returns what it is told to.
type scripted struct {
	public    crypto.PublicKey
	signature []byte
	err       error
}

func (s scripted) Public() crypto.PublicKey { return s.public }

func (s scripted) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return s.signature, s.err
}

func der(t *testing.T, r, s *big.Int) []byte {
	t.Helper()
	b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeyWhoseSignerFails(t *testing.T) {
	public := ecKey(t, elliptic.P256()).Public()
	one, tooLong := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	broken := errors.New("the HSM is on fire")
	for name, c := range map[string]scripted{
		"error":           {err: broken},
		"nothing":         {},
		"raw r and s":     {signature: make([]byte, 64)},
		"cut off":         {signature: der(t, one, one)[:5]},
		"something after": {signature: append(der(t, one, one), 0)},
		"r too long":      {signature: der(t, tooLong, one)},
		"s too long":      {signature: der(t, one, tooLong)},
		"r zero":          {signature: der(t, new(big.Int), one)},
		"s negative":      {signature: der(t, one, big.NewInt(-1))},
	} {
		c.public = public
		key, err := jws.NewKey(c, "")
		if err != nil {
			t.Fatal(err)
		}
		signed, err := key.Sign(nil, nil)
		if signed != "" || err == nil || !strings.HasPrefix(err.Error(), "signing by ES256: ") {
			t.Errorf("%s: %q, %v", name, signed, err)
		}
		if c.err != nil && !errors.Is(err, broken) {
			t.Errorf("%v is not the signer's error", err)
		}
	}
	if signed, err := mustKey(t, edKey(t)).Sign(map[string]any{"x": func() {}}, nil); err == nil {
		t.Errorf("a header that is no JSON: %q", signed)
	}
}

func mustKey(t *testing.T, signer crypto.Signer) *jws.Key {
	t.Helper()
	key, err := jws.NewKey(signer, "")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKeyPads: r and s are as long as the curve, whatever their value.
func TestKeyPads(t *testing.T) {
	for curve, size := range map[elliptic.Curve]int{elliptic.P256(): 32, elliptic.P384(): 48, elliptic.P521(): 66} {
		r, s := big.NewInt(1), big.NewInt(0x0203)
		signed, err := mustKey(t, scripted{ecKey(t, curve).Public(), der(t, r, s), nil}).Sign(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := base64.RawURLEncoding.DecodeString(signed[strings.LastIndex(signed, ".")+1:])
		want := make([]byte, 2*size)
		want[size-1], want[2*size-2], want[2*size-1] = 1, 2, 3
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %x, %v, want %x", curve.Params().Name, got, err, want)
		}
	}
}

// TestKeySeesWhatIsSigned: the digest that a signer gets is that of the token's first
// parts.
func TestKeySeesWhatIsSigned(t *testing.T) {
	var digest []byte
	var opts crypto.SignerOpts
	signer := recording{remote{ecKey(t, elliptic.P384())}, &digest, &opts}
	signed, err := mustKey(t, signer).Sign(nil, map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	want := sha512.Sum384([]byte(signed[:strings.LastIndex(signed, ".")]))
	if string(digest) != string(want[:]) || opts.HashFunc() != crypto.SHA384 {
		t.Errorf("digest %x of %v, want %x", digest, opts, want)
	}
}

type recording struct {
	remote
	digest *[]byte
	opts   *crypto.SignerOpts
}

func (r recording) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	*r.digest, *r.opts = digest, opts
	return r.remote.Sign(random, digest, opts)
}
