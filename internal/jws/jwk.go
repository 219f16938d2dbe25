package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
)

var b64 = base64.RawURLEncoding

// JWK returns a public key as the members that RFC 7638, section 3.2, lists, in their order and
// without white space (RFC 7517; RFC 7518, section 6; RFC 8037, section 2).
func JWK(public crypto.PublicKey) ([]byte, error) {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		//lint:ignore SA1019 they are looked at alone: Bytes panics without them
		if public == nil || public.Curve == nil || public.X == nil || public.Y == nil {
			break
		}
		point, err := public.Bytes() // 4, X, Y
		if err != nil {
			return nil, fmt.Errorf("the public key is none: %w", err)
		}
		half := len(point) / 2
		return fmt.Appendf(nil, `{"crv":%q,"kty":"EC","x":%q,"y":%q}`,
			public.Curve.Params().Name, b64.EncodeToString(point[1:1+half]), b64.EncodeToString(point[1+half:])), nil
	case *rsa.PublicKey:
		if public == nil || public.N == nil {
			break
		}
		return fmt.Appendf(nil, `{"e":%q,"kty":"RSA","n":%q}`,
			b64.EncodeToString(big.NewInt(int64(public.E)).Bytes()), b64.EncodeToString(public.N.Bytes())), nil
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			break
		}
		return fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":%q}`, b64.EncodeToString(public)), nil
	}
	return nil, fmt.Errorf("the public key is a %T, or empty; take one of RSA, ECDSA or Ed25519", public)
}

// Thumbprint returns the SHA-256 thumbprint of a public key (RFC 7638), in base64url.
func Thumbprint(public crypto.PublicKey) (string, error) {
	jwk, err := JWK(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(jwk)
	return b64.EncodeToString(sum[:]), nil
}
