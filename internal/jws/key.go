package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// A Key signs by one algorithm. It is safe for concurrent use if its signer is.
type Key struct {
	algorithm
	key any // what the method takes: a crypto.Signer, or the bytes of a secret
}

// An algorithm is one of RFC 7518, section 3.1, RFC 8037 or RFC 9864, and the kind of key
// that it is for.
type algorithm struct {
	kind, name string
	method     jwt.SigningMethod
}

const (
	secret  = "a secret"
	ofRSA   = "RSA"
	ofEd    = "Ed25519"
	onCurve = "ECDSA on " // and the curve
)

// algorithms has those that a kind of key gets by itself before its others.
var algorithms = []algorithm{
	{secret, "HS256", jwt.SigningMethodHS256},
	{secret, "HS384", jwt.SigningMethodHS384},
	{secret, "HS512", jwt.SigningMethodHS512},
	{ofRSA, "RS256", bySigner{jwt.SigningMethodRS256, crypto.SHA256, 0}},
	{ofRSA, "RS384", bySigner{jwt.SigningMethodRS384, crypto.SHA384, 0}},
	{ofRSA, "RS512", bySigner{jwt.SigningMethodRS512, crypto.SHA512, 0}},
	{ofRSA, "PS256", bySigner{jwt.SigningMethodPS256, pss(crypto.SHA256), 0}},
	{ofRSA, "PS384", bySigner{jwt.SigningMethodPS384, pss(crypto.SHA384), 0}},
	{ofRSA, "PS512", bySigner{jwt.SigningMethodPS512, pss(crypto.SHA512), 0}},
	{onCurve + "P-256", "ES256", bySigner{jwt.SigningMethodES256, crypto.SHA256, 32}},
	{onCurve + "P-384", "ES384", bySigner{jwt.SigningMethodES384, crypto.SHA384, 48}},
	{onCurve + "P-521", "ES512", bySigner{jwt.SigningMethodES512, crypto.SHA512, 66}},
	{ofEd, "EdDSA", bySigner{jwt.SigningMethodEdDSA, crypto.Hash(0), 0}},
	{ofEd, "Ed25519", bySigner{jwt.SigningMethodEdDSA, crypto.Hash(0), 0}}, // RFC 9864, section 2.2
}

func pss(h crypto.Hash) crypto.SignerOpts {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
}

// minRSA is how many bits an RSA key must have (RFC 7518, sections 3.3 and 3.5).
const minRSA = 2048

// NewKey returns a key that signs by the algorithm of that name; "" is RS256 for a key of
// RSA, and the only one there is, or EdDSA, for others. Errors begin with "the key" or
// "the Algorithm".
func NewKey(signer crypto.Signer, name string) (*Key, error) {
	kind, err := kindOf(signer)
	if err != nil {
		return nil, err
	}
	a, err := find(kind, name)
	if err != nil {
		return nil, err
	}
	return &Key{a, signer}, nil
}

// NewSecret is NewKey for a secret that the other side knows, too; "" is HS256.
func NewSecret(text, name string) (*Key, error) {
	a, err := find(secret, name)
	if err != nil {
		return nil, err
	}
	// RFC 7518, section 3.2: who guesses a shorter one has the client's secret.
	if h, ok := a.method.(*jwt.SigningMethodHMAC); ok && len(text) < h.Hash.Size() {
		return nil, fmt.Errorf("the secret has %d bytes, and %s needs %d or more (RFC 7518, section 3.2); have the server make a longer one",
			len(text), a.name, h.Hash.Size())
	}
	return &Key{a, []byte(text)}, nil
}

// kindOf says what kind of key the signer has, if it is one that can sign here.
func kindOf(signer crypto.Signer) (string, error) {
	// Their Public methods panic.
	v := reflect.ValueOf(signer)
	ed, isEd := signer.(ed25519.PrivateKey)
	if signer == nil || v.Kind() == reflect.Pointer && v.IsNil() || isEd && len(ed) != ed25519.PrivateKeySize {
		return "", errors.New("the key is nil or empty; assign a crypto.Signer, such as an *ecdsa.PrivateKey or what a KMS gives")
	}
	public := signer.Public()
	switch public := public.(type) {
	case *rsa.PublicKey:
		if public == nil || public.N == nil || public.N.BitLen() < minRSA {
			return "", fmt.Errorf("the key is one of RSA with less than %d bits (RFC 7518, section 3.3); make a longer one", minRSA)
		}
		return ofRSA, nil
	case *ecdsa.PublicKey:
		if public != nil && public.Curve != nil {
			return onCurve + public.Curve.Params().Name, nil
		}
	case ed25519.PublicKey:
		return ofEd, nil
	}
	return fmt.Sprintf("one whose Public method returns a %T", public), nil
}

// find returns the algorithm of that name for keys of that kind.
func find(kind, name string) (algorithm, error) {
	var names []string
	for _, a := range algorithms {
		if a.kind == kind && (a.name == name || name == "") {
			return a, nil
		}
		if a.kind == kind {
			names = append(names, a.name)
		}
	}
	if names == nil {
		return algorithm{}, fmt.Errorf("the key is %s, which no algorithm here is for; take one of RSA, of ECDSA on P-256, P-384 or P-521, or of Ed25519", kind)
	}
	return algorithm{}, fmt.Errorf("the Algorithm %q is not for this key, which is %s; leave it empty, or take one of %s", name, kind, strings.Join(names, ", "))
}

// Sign returns a JWT with the header and the claims (RFC 7515, section 3.1). Its typ is
// "JWT" unless the header has another. It changes neither map.
func (k *Key) Sign(header, claims map[string]any) (string, error) {
	h := map[string]any{"typ": "JWT"}
	maps.Copy(h, header)
	h["alg"] = k.name
	token := &jwt.Token{Header: h, Claims: jwt.MapClaims(claims), Method: k.method}
	signed, err := token.SignedString(k.key)
	if err != nil {
		return "", fmt.Errorf("signing by %s: %w", k.name, err)
	}
	return signed, nil
}

// Algorithm is the name by which k signs.
func (k *Key) Algorithm() string { return k.name }

// Public is the public key; nil if k is a secret.
func (k *Key) Public() crypto.PublicKey {
	if signer, ok := k.key.(crypto.Signer); ok {
		return signer.Public()
	}
	return nil
}

// AppendSignature appends a dot and the signature of b to b, which is the encoded header, a dot
// and the encoded claims (RFC 7515, section 3.1): for who makes many JWTs with one header.
func (k *Key) AppendSignature(b []byte) ([]byte, error) {
	signature, err := k.method.Sign(string(b), k.key)
	if err != nil {
		return nil, fmt.Errorf("signing by %s: %w", k.name, err)
	}
	return b64.AppendEncode(append(b, '.'), signature), nil
}

// bySigner is a method of golang-jwt that signs with any crypto.Signer.
type bySigner struct {
	jwt.SigningMethod
	opts crypto.SignerOpts
	size int // bytes of r, and of s, if it is ECDSA
}

func (m bySigner) Sign(signingString string, key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, jwt.ErrInvalidKeyType
	}
	signature, err := crypto.SignMessage(signer, rand.Reader, []byte(signingString), m.opts)
	if err != nil || m.size == 0 {
		return signature, err
	}
	return sideBySide(signature, m.size)
}

// sideBySide makes of an ASN.1 signature, which crypto.Signer has of ECDSA, what RFC 7518,
// section 3.4, wants.
func sideBySide(der []byte, size int) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	fits := func(n *big.Int) bool { return n != nil && n.Sign() > 0 && n.BitLen() <= 8*size }
	if err != nil || len(rest) > 0 || !fits(pair.R) || !fits(pair.S) {
		return nil, errors.New("the signer returned no ASN.1 signature of ECDSA, as crypto.Signer asks for")
	}
	both := make([]byte, 2*size)
	pair.R.FillBytes(both[:size])
	pair.S.FillBytes(both[size:])
	return both, nil
}
