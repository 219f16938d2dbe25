package clientauth

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// JWTOptions are what servers want differently of a client's JWT. Each field may be left
// empty. They are copied, but for what is in Header.
type JWTOptions struct {
	// Audience is the claim aud: whom the JWT is for. Empty: the URL that the request goes
	// to, which RFC 7523, section 3, and OpenID Connect Core, section 9, name. Many servers
	// want their issuer identifier instead, and draft-ietf-oauth-rfc7523bis makes it the
	// rule. Set it, too, if the revocation endpoint wants the URL of the token endpoint.
	Audience string

	// Algorithm is the alg of the header. Empty: HS256 for a secret, RS256 for a key of
	// RSA, ES256, ES384 or ES512 for one of ECDSA, by its curve, and EdDSA for one of
	// Ed25519. Others that can be asked for are HS384 and HS512; RS384, RS512, PS256, PS384
	// and PS512; and Ed25519, which RFC 9864 has for EdDSA.
	Algorithm string

	// KeyID is the kid of the header, by which the server finds the key. Empty: none.
	KeyID string

	// Header are further members of the header, such as "x5t#S256" or "x5c". A "typ" here
	// takes the place of "JWT". It must not hold alg or kid. Nil: none.
	Header map[string]any

	// Lifetime is how long the JWT is good for, of which ten seconds are over when it is
	// made: iat and nbf are set back by these, for servers whose clock is behind. A clock
	// that is behind the server's own by more than the rest makes every JWT refused: set it
	// right, or make Lifetime longer. 0: one minute. It must be more than ten seconds.
	Lifetime time.Duration
}

// PrivateKeyJWT sends a JWT that key signs: private_key_jwt of OpenID Connect Core,
// section 9, and RFC 7523, section 2.2. The server has the public key. No two requests
// have the same JWT. o may be nil.
//
// The key may be anywhere: nothing but the methods of [crypto.Signer] is used, and those
// of [crypto.MessageSigner] if it has them. Public is called once, now; Sign for each
// request, also by several goroutines at a time. It gets no context, because
// crypto.Signer has none: one that asks a KMS needs a timeout of its own, shorter than
// tokenclient.Config.RefreshTimeout. If it fails, nothing is sent.
//
// The key is an *rsa.PrivateKey of 2048 bits or more, an *ecdsa.PrivateKey on P-256,
// P-384 or P-521, an ed25519.PrivateKey, or whatever has such a public key.
func PrivateKeyJWT(id string, key crypto.Signer, o *JWTOptions) tokenclient.ClientAuth {
	return withJWT("PrivateKeyJWT", id, nil, o, func(algorithm string) (*jws.Key, error) {
		return jws.NewKey(key, algorithm)
	})
}

// ClientSecretJWT sends a JWT that is signed with the client's secret, so that the secret
// stays at home: client_secret_jwt of OpenID Connect Core, section 9. No two requests
// have the same JWT. o may be nil.
//
// RFC 7518, section 3.2, wants a secret of 32 bytes for HS256, 48 for HS384 and 64 for
// HS512, at least; tokenclient.New refuses a shorter one. It is used as it is: a server
// that hands out base64 mostly means the text.
func ClientSecretJWT(id, secret string, o *JWTOptions) tokenclient.ClientAuth {
	const name = "ClientSecretJWT"
	return withJWT(name, id, proof.CheckSecret(name, secret), o, func(algorithm string) (*jws.Key, error) {
		return jws.NewSecret(secret, algorithm)
	})
}

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, section 2.2

// withJWT returns a method that signs with a key for the algorithm. wrong is what is wrong
// with the secret; nil: nothing.
func withJWT(name, id string, wrong error, o *JWTOptions, newKey func(algorithm string) (*jws.Key, error)) *proof.Method {
	if o == nil {
		o = new(JWTOptions)
	}
	audience := o.Audience
	key, err := newKey(o.Algorithm)
	a := &jws.Assertion{
		Key: key, Issuer: id, Subject: id,
		KeyID: o.KeyID, Header: maps.Clone(o.Header), Lifetime: o.Lifetime,
	}
	if err == nil && strings.ContainsFunc(audience, unicode.IsControl) {
		err = errAudience
	}
	if err = cmp.Or(err, a.Check()); err != nil && wrong == nil {
		wrong = fmt.Errorf("%s: %w", name, err)
	}
	return proof.New(name, id, wrong, func(ctx context.Context, endpoint string, form url.Values, _ http.Header) error {
		if err := cmp.Or(wrong, ctx.Err()); err != nil {
			return err
		}
		signed, err := a.Sign(cmp.Or(audience, endpoint))
		if err != nil {
			return err
		}
		// RFC 7521, section 4.2, leaves client_id to the client. Some servers demand it.
		form.Set("client_id", id)
		form.Set("client_assertion_type", jwtBearer)
		form.Set("client_assertion", signed)
		return nil
	})
}

var errAudience = errors.New("the Audience has a control character in it, such as the line break at the end of a file; use strings.TrimSpace")
