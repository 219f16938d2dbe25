package dpop

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Prover makes proofs. It is a [tokenclient.Binder] and a [tokenclient.Attacher], and is to be
// both of a session. Sessions may share one, and so all sessions of a Pool should. The zero
// value is ready; its fields must not be changed after the first use, and it must not be
// copied. It is safe for concurrent use if Signer is.
//
// It shows no key when it is printed or marshalled to JSON. One thing it cannot prevent: package
// fmt calls no methods of what is in an unexported field of a struct, and shows a Signer there
// that is the bytes of a key, such as a [crypto/ed25519.PrivateKey]. Hold a Prover by pointer.
type Prover struct {
	// Signer has the key of all tokens: of RSA with 2048 bits or more, ECDSA on P-256, P-384
	// or P-521, or Ed25519. It signs one proof for each request. Tokens that have a key of
	// their own already keep it until the next login. Nil: each login has its own key.
	Signer crypto.Signer

	// Algorithm is how proofs are signed (RFC 7518, section 3.1): ES256, ES384, ES512, RS256,
	// PS256 and their like, EdDSA. Servers list theirs as dpop_signing_alg_values_supported.
	// Empty: ES256 for new keys; of a Signer, the one that goes with its key, and RS256 with
	// one of RSA.
	Algorithm string

	// AllowBearer lets tokens out that the server did not bind, as Bearer tokens: it said that
	// they are of another type than DPoP. Without it a request with one is an error, as the
	// protection that was asked for is not there (RFC 9449, section 5).
	AllowBearer bool

	keys      keys
	resources servers
	issuers   servers
}

var (
	_ tokenclient.Binder   = (*Prover)(nil)
	_ tokenclient.Attacher = (*Prover)(nil)
)

var errNotBound = errors.New("dpop: the token is not bound to a key: the server issued it as one of another type than DPoP; AllowBearer sends it all the same")

// Validate reports what is wrong with Signer and Algorithm.
func (p *Prover) Validate() error {
	if p.Signer == nil {
		if !canMake(p.Algorithm) {
			return fmt.Errorf(`Prover.Algorithm is %q, for which no key can be made; leave it empty for ES256, or take one of ES384, ES512, EdDSA, RS256, PS256 and their like`, p.Algorithm)
		}
		return nil
	}
	_, err := p.keys.ofSigner(p)
	return err
}

// HeaderName returns "Authorization".
func (p *Prover) HeaderName() string { return "Authorization" }

// Attach puts t on req, and a proof for this one sending (RFC 9449, sections 4 and 7.1). It is
// ErrLoginRequired if t's key is lost. For protocols other than HTTP there is no proof: req
// needs a URL with a host.
func (p *Prover) Attach(req *http.Request, t *tokenclient.Token) error {
	if !isBound(t) {
		if !p.AllowBearer {
			return errNotBound
		}
		return tokenclient.Bearer{}.Attach(req, t)
	}
	k, err := p.keys.of(p, t)
	if err != nil {
		return err
	}
	a := k.access(t.AccessToken)
	if err := p.resources.prove(req, k, a.hash); err != nil {
		return err
	}
	req.Header["Authorization"] = a.header
	return nil
}

// isBound reports whether t is to be sent with a proof.
func isBound(t *tokenclient.Token) bool {
	return strings.EqualFold(t.TokenType, "DPoP") || t.TokenType == "" && t.Binding != ""
}

// Answered learns the API's nonce and its clock, and reports whether it refused nothing but the
// proof, and would take another one; see [tokenclient.Attacher].
func (p *Prover) Answered(req *http.Request, resp *http.Response, _ *tokenclient.Token) (again bool) {
	return p.resources.learn(req, resp, challenged(resp))
}

// challenged says what resp is to a proof that came with a token.
func challenged(resp *http.Response) refusal {
	if resp.StatusCode != http.StatusUnauthorized {
		return accepted
	}
	worst := accepted
	for _, c := range tokenclient.Challenges(resp) {
		if strings.EqualFold(c.Scheme, "DPoP") {
			worst = max(worst, refusalOf(c.Params["error"]), perhaps)
		}
	}
	return worst
}

// NewBinding makes the key of a login that has not happened yet, or names the Signer.
// thumbprint is what an authorization request says as dpop_jkt (RFC 9449, section 10).
// binding is secret: it may be the key itself. Keep it with what else the login needs when it
// comes back.
func (p *Prover) NewBinding() (binding, thumbprint string, err error) {
	if p.Signer == nil {
		return p.keys.make(p.Algorithm)
	}
	k, err := p.keys.ofSigner(p)
	if err != nil {
		return "", "", err
	}
	return printPrefix + k.thumbprint, k.thumbprint, nil
}

// Bind chooses the key for a call of a token endpoint: t's own, or a new one if it has none.
// If it is lost the error is ErrLoginRequired.
func (p *Prover) Bind(_ context.Context, t *tokenclient.Token) (binding string, proof tokenclient.Attacher, err error) {
	if t.Binding == "" && (p.Signer != nil || !strings.EqualFold(t.TokenType, "DPoP")) {
		made, _, err := p.NewBinding()
		if err != nil {
			return "", nil, err
		}
		t = &tokenclient.Token{Binding: made}
	}
	k, err := p.keys.of(p, t)
	if err != nil {
		return "", nil, err
	}
	return t.Binding, &issuerProof{p, k}, nil
}

// An issuerProof puts proofs on calls of one token endpoint.
type issuerProof struct {
	prover *Prover
	key    *key
}

func (*issuerProof) HeaderName() string { return proofHeader }

func (i *issuerProof) Attach(req *http.Request, _ *tokenclient.Token) error {
	return i.prover.issuers.prove(req, i.key, "")
}

func (i *issuerProof) Answered(req *http.Request, resp *http.Response, _ *tokenclient.Token) bool {
	return i.prover.issuers.learn(req, resp, said(resp))
}

// said says what resp, of a token endpoint, is to a proof (RFC 9449, sections 5 and 8).
func said(resp *http.Response) refusal {
	if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnauthorized {
		return accepted
	}
	var body struct{ Error any }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&body); err == nil {
		if code, ok := body.Error.(string); ok {
			return max(refusalOf(code), challenged(resp))
		}
	}
	return challenged(resp)
}

// Format writes what kind of keys p has, whatever the verb: its fields lead to them.
func (p *Prover) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.describe()) }

// MarshalJSON marshals what Format writes. It cannot be read back.
func (p *Prover) MarshalJSON() ([]byte, error) { return json.Marshal(p.describe()) }

func (p *Prover) describe() string {
	if p == nil {
		return "Prover(nil)"
	}
	if p.Signer != nil {
		return fmt.Sprintf("Prover{%T}", p.Signer)
	}
	return "Prover{a key for each login}"
}
