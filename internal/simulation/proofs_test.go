package simulation_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

// In some histories tokens are bound to a key (RFC 9449): each login has its own, which is
// stored beside the tokens, and each message with a token needs a proof. The servers, of which
// the API has two then, want nonces in the proofs, or not.

const secondHost = "files.example.com"

// A proof is one that was sent.
type proof struct {
	ID        string `json:"jti"`
	Method    string `json:"htm"`
	Target    string `json:"htu"`
	At        int64  `json:"iat"`
	TokenHash string `json:"ath"`
	Nonce     string `json:"nonce"`

	key   string // the thumbprint
	wrong string // what is wrong with it, whatever it is for; "": nothing
}

// readProof returns the proof on a message; nil: there is none.
func readProof(h http.Header) *proof {
	values := h["Dpop"]
	switch len(values) {
	case 0:
		return nil
	case 1:
	default:
		return &proof{wrong: "there are two"}
	}
	p := new(proof)
	if err := p.read(values[0]); err != nil {
		p.wrong = err.Error()
	}
	return p
}

func (p *proof) read(text string) error {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return fmt.Errorf("it has %d parts", len(parts))
	}
	var head struct {
		Type      string `json:"typ"`
		Algorithm string `json:"alg"`
		JWK       struct{ Kty, Crv, X, Y, D string }
	}
	b64 := base64.RawURLEncoding
	first, err1 := b64.DecodeString(parts[0])
	second, err2 := b64.DecodeString(parts[1])
	signature, err3 := b64.DecodeString(parts[2])
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	if err := json.Unmarshal(first, &head); err != nil {
		return err
	}
	if err := json.Unmarshal(second, p); err != nil {
		return err
	}
	k := head.JWK
	if head.Type != "dpop+jwt" || head.Algorithm != "ES256" || k.D != "" || len(signature) != 64 {
		return fmt.Errorf("its header is %q", first)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Crv, k.Kty, k.X, k.Y))
	p.key = b64.EncodeToString(sum[:])
	if sum[0]%signedShare != 0 { // to verify one takes twice as long as to sign it
		return nil
	}
	x, errX := b64.DecodeString(k.X)
	y, errY := b64.DecodeString(k.Y)
	if errX != nil || errY != nil {
		return fmt.Errorf("its key is %v", k)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(text[:len(parts[0])+1+len(parts[1])]))
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return fmt.Errorf("its signature is not of its key")
	}
	return nil
}

// signedShare says of how many keys the signatures of one are verified.
const signedShare = 4

// A proofWorld is what is known of proofs; nil if tokens are not bound.
type proofWorld struct {
	w     *world
	ids   map[string]bool
	hosts map[string]*nonceHost
	keys  []string // the bindings, which are secret
	calls map[string]*provedCall
}

// A provedCall is what came of the last call of a token endpoint by one process with one token.
type provedCall struct {
	at     time.Duration // when the answer was there
	asked  int           // how often it was made again by then
	wanted string        // the nonce of the answer
}

func newProofWorld(w *world) *proofWorld {
	if !w.plan.set.bound {
		return nil
	}
	x := &proofWorld{w: w, ids: map[string]bool{}, hosts: map[string]*nonceHost{}, calls: map[string]*provedCall{}}
	for _, host := range []string{authHost, apiHost, secondHost} {
		name, _, _ := strings.Cut(host, ".")
		h := &nonceHost{kind: nonceKind(w.plan.unit("nonces of "+host) * float64(nonceKinds)), name: name, issued: map[string]bool{}}
		h.often = 0.1
		if w.plan.unit("another nonce often "+host) < 0.3 {
			h.often = 0.6
		}
		h.change()
		x.hosts[host] = h
	}
	return x
}

// newProver returns what makes the proofs of a process; nil: tokens are not bound.
func (w *world) newProver(r tokenclient.Refresher) *dpop.Prover {
	if !w.plan.set.bound {
		return nil
	}
	p := new(dpop.Prover)
	r.(*tokenclient.OAuth2Refresher).Binder = p
	return p
}

// bind binds the token of a login, which p makes, to a key of its own.
func (w *world) bind(p *process, f *family, t *tokenclient.Token) {
	if !w.plan.set.bound {
		return
	}
	binding, thumbprint, err := p.prover.NewBinding()
	if err != nil {
		panic(err)
	}
	f.key, t.TokenType, t.Binding = thumbprint, "DPoP", binding
	w.server.proofs.keys = append(w.server.proofs.keys, binding[len(binding)-40:])
}

// tokenType is that of the tokens of f.
func (f *family) tokenType() string {
	if f.key != "" {
		return "DPoP"
	}
	return "Bearer"
}

// A tokenCall is one call of the token or revocation endpoint.
type tokenCall struct {
	p           *process
	path, token string
	proof       *proof
}

func (c *tokenCall) String() string { return c.p.name() + "'s call of " + c.path }

func (c *tokenCall) name() string { return c.p.name() + c.path + c.token }

// scheme is that of the challenges to a request.
func (x *sending) scheme() string {
	if x.proof != nil {
		return "DPoP"
	}
	return "Bearer"
}

// familyOf returns whose token that is; nil: nobody's.
func (s *server) familyOf(token string) *family {
	if p := s.pairs[token]; p != nil {
		return p.family
	}
	if a := s.access[token]; a != nil {
		return a.family
	}
	return nil
}
