package grant

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// JWTBearer is the grant of RFC 7523, section 2.1, with the assertion that the function
// returns: one that somebody else has signed. It is called for each try, also by several
// goroutines at a time, and must return soon after ctx ends. If it fails, nothing is sent.
//
// For an assertion that this program signs there is [SignedJWT].
type JWTBearer func(ctx context.Context) (assertion string, err error)

var _ tokenclient.Grant = JWTBearer(nil)

// Params returns the assertion.
func (f JWTBearer) Params(ctx context.Context, _ *tokenclient.Token) (url.Values, error) {
	assertion, err := called(ctx, "assertion", f)
	if err != nil {
		return nil, err
	}
	return bearer(assertion), nil
}

// Format writes the name of the grant, whatever the verb.
func (f JWTBearer) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "JWTBearer") }

// MarshalJSON marshals what Format writes.
func (f JWTBearer) MarshalJSON() ([]byte, error) { return json.Marshal("JWTBearer") }

func bearer(assertion string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
}

// An Assertion is what [SignedJWT] says in the name of whom.
type Assertion struct {
	// Issuer is the claim iss: a service account, or a client id. It is required.
	Issuer string

	// Subject is the claim sub: on whose behalf. RFC 7523, section 3, demands one; Google
	// wants none unless a service account acts for a user. Empty: none.
	Subject string

	// Audience is the claim aud, mostly the URL of the token endpoint or of the server, as
	// its documentation says. It is required.
	Audience string

	// Scope is the claim scope, a list separated by spaces. Google and DocuSign read it
	// here; others read Scope of the refresher. Empty: none.
	Scope string

	// Claims are further ones. They cannot be iss, sub, aud, iat, nbf, exp, jti or, if
	// Scope is set, scope. Nil: none.
	Claims map[string]any

	// Algorithm is the alg of the header. Empty: RS256 for a key of RSA, ES256, ES384 or
	// ES512 for one of ECDSA, by its curve, and EdDSA for one of Ed25519. Others that can
	// be asked for are RS384, RS512, PS256, PS384 and PS512; and Ed25519, which RFC 9864
	// has for EdDSA.
	Algorithm string

	// KeyID is the kid of the header. Empty: none.
	KeyID string

	// Header are further members of the header. It must not hold alg or kid. Nil: none.
	Header map[string]any

	// Lifetime is how long the assertion is good for, of which ten seconds are over when
	// it is made: iat and nbf are set back by these, for servers whose clock is behind.
	// How long the token will be good for is the server's affair. 0: one minute, which
	// the strictest servers allow. It must be more than ten seconds.
	Lifetime time.Duration
}

// SignedJWT is the grant of RFC 7523, section 2.1, with an assertion that key signs, as
// service accounts use it: at Google, Salesforce, DocuSign, Box and others. Each try has
// an assertion of its own, with another jti. The maps in a are copied, but for what is in
// them.
//
// The key may be in an HSM or a KMS: nothing but the methods of [crypto.Signer] is used,
// and those of [crypto.MessageSigner] if it has them. Public is called once, now; Sign
// for each try, also by several goroutines at a time. It gets no context, because
// crypto.Signer has none: one that asks a KMS needs a timeout of its own, shorter than
// tokenclient.Config.RefreshTimeout. If it fails, nothing is sent.
//
// The key is an *rsa.PrivateKey of 2048 bits or more, an *ecdsa.PrivateKey on P-256,
// P-384 or P-521, an ed25519.PrivateKey, or whatever has such a public key.
// tokenclient.New refuses any other, and an Assertion that cannot be made.
//
// If the server wants no client beside the assertion, ClientAuth is clientauth.NoClient().
func SignedJWT(key crypto.Signer, a Assertion) tokenclient.Grant {
	k, err := jws.NewKey(key, a.Algorithm)
	signed := &jws.Assertion{
		Key: k, Issuer: a.Issuer, Subject: a.Subject,
		KeyID: a.KeyID, Header: maps.Clone(a.Header), Claims: maps.Clone(a.Claims), Lifetime: a.Lifetime,
	}
	if err = cmp.Or(err, a.check(), signed.Check()); err != nil {
		err = fmt.Errorf("SignedJWT: %w", err)
	}
	if a.Scope != "" {
		if signed.Claims == nil {
			signed.Claims = make(map[string]any)
		}
		signed.Claims["scope"] = a.Scope
	}
	audience := a.Audience
	return &signedJWT{
		text:  fmt.Sprintf("SignedJWT(%q)", a.Issuer),
		wrong: err,
		sign:  func() (string, error) { return signed.Sign(audience) },
	}
}

// check reports what is wrong with the claims that have fields.
func (a *Assertion) check() error {
	switch _, scope := a.Claims["scope"]; {
	case a.Issuer == "":
		return errors.New("the Issuer is empty; it is the service account, or the client id")
	case a.Audience == "":
		return errors.New("the Audience is empty; it is mostly the URL of the token endpoint")
	case scope && a.Scope != "":
		return errors.New("the Claims must not hold scope, which is made of the field Scope")
	}
	for _, f := range []struct{ name, value string }{
		{"Issuer", a.Issuer}, {"Subject", a.Subject}, {"Audience", a.Audience}, {"Scope", a.Scope},
	} {
		if strings.ContainsFunc(f.value, unicode.IsControl) {
			return fmt.Errorf("the %s has a control character in it, such as the line break at the end of a file; use strings.TrimSpace", f.name)
		}
	}
	return nil
}

// signedJWT is the grant of SignedJWT. It has the key in a closure and is used by
// pointer: so no printer that walks through fields by reflection finds it.
type signedJWT struct {
	text  string // what it prints as
	wrong error
	sign  func() (string, error)
}

// Validate reports what is wrong with the key or the assertion.
func (g *signedJWT) Validate() error { return g.wrong }

// Params implements tokenclient.Grant.
func (g *signedJWT) Params(ctx context.Context, _ *tokenclient.Token) (url.Values, error) {
	if err := cmp.Or(g.wrong, ctx.Err()); err != nil {
		return nil, err
	}
	assertion, err := g.sign()
	if err != nil {
		return nil, err
	}
	return bearer(assertion), nil
}

func (g *signedJWT) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, g.text) }
func (g *signedJWT) MarshalJSON() ([]byte, error) { return json.Marshal(g.text) }
