package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What a Token.Binding begins with: a private key (its algorithm, and PKCS #8 in base64url), or
// the thumbprint of a Signer's.
const (
	keyPrefix   = "key:"
	printPrefix = "jkt:"
)

var b64 = base64.RawURLEncoding

// A key signs proofs.
type key struct {
	signer     *jws.Key
	thumbprint string
	head       string // the header of each proof, encoded, and a dot
	last       atomic.Pointer[accessToken]
}

// An accessToken is what a request says of one.
type accessToken struct {
	header []string // Authorization; nobody may change it
	hash   string   // ath
}

// access returns that of a token. A key mostly has one at a time.
func (k *key) access(token string) *accessToken {
	const scheme = "DPoP "
	if a := k.last.Load(); a != nil && a.header[0][len(scheme):] == token {
		return a
	}
	sum := sha256.Sum256([]byte(token))
	a := &accessToken{[]string{scheme + token}, b64.EncodeToString(sum[:])}
	k.last.Store(a)
	return a
}

func newKey(signer crypto.Signer, algorithm string) (*key, error) {
	s, err := jws.NewKey(signer, algorithm)
	if err != nil {
		return nil, err
	}
	jwk, err := jws.JWK(s.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(jwk) // RFC 7638
	head := fmt.Appendf(nil, `{"typ":"dpop+jwt","alg":%q,"jwk":%s}`, s.Algorithm(), jwk)
	return &key{signer: s, thumbprint: b64.EncodeToString(sum[:]), head: b64.EncodeToString(head) + "."}, nil
}

// Thumbprint returns the thumbprint of a public key (RFC 7638, SHA-256), as dpop_jkt and the jkt
// of a token say it.
func Thumbprint(public crypto.PublicKey) (string, error) { return jws.Thumbprint(public) }

// maxKeys is how many keys of logins are ready to sign. To read one takes about as long as a
// signature.
const maxKeys = 4096

// keys are those that a Prover has used.
type keys struct {
	mu  sync.RWMutex // guards all below
	own *key         // of the Signer; nil: not made yet

	// logins are those of logins, by Token.Binding, which may be the key itself. Package fmt
	// shows all of a Prover that is inside of another struct, but for what is behind an
	// atomic.Pointer.
	logins atomic.Pointer[map[string]*key]
}

// loginsLocked returns the keys of logins, nil if there are none.
func (c *keys) loginsLocked() map[string]*key {
	if list := c.logins.Load(); list != nil {
		return *list
	}
	return nil
}

// of returns the key that t is bound to.
func (c *keys) of(p *Prover, t *tokenclient.Token) (*key, error) {
	switch binding := t.Binding; {
	case strings.HasPrefix(binding, keyPrefix):
		return c.ofLogin(binding)
	case binding == "" && p.Signer == nil:
		return nil, lost("the token has none; it was stored by a program that did not know of it, or lost it")
	case p.Signer == nil:
		return nil, lost("it was that of a Signer, and Prover.Signer is nil")
	}
	k, err := c.ofSigner(p)
	if want := strings.TrimPrefix(t.Binding, printPrefix); err == nil && want != "" && want != k.thumbprint {
		// The whole of it is in the Binding, and would be redacted.
		err = lost(fmt.Sprintf("its thumbprint begins with %.6q, and that of Prover.Signer with %.6q", want, k.thumbprint))
	}
	return k, err
}

// lost is the error of a key that is not there. It shows no private one.
func lost(why string) error {
	return fmt.Errorf("dpop: %w: the key that the token is bound to is not there: %s", tokenclient.ErrLoginRequired, why)
}

// ofSigner returns that of p's Signer.
func (c *keys) ofSigner(p *Prover) (*key, error) {
	c.mu.RLock()
	k := c.own
	c.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	k, err := newKey(p.Signer, p.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("Prover.Signer: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		c.own = k
	}
	return c.own, nil
}

// ofLogin returns that of a binding with a private key.
func (c *keys) ofLogin(binding string) (*key, error) {
	c.mu.RLock()
	k := c.loginsLocked()[binding]
	c.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	k, err := readKey(strings.TrimPrefix(binding, keyPrefix))
	if err != nil {
		return nil, err
	}
	c.add(binding, k)
	return k, nil
}

func (c *keys) add(binding string, k *key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.loginsLocked()
	if list == nil {
		list = make(map[string]*key)
		c.logins.Store(&list)
	}
	for some := range list {
		if len(list) < maxKeys {
			break
		}
		delete(list, some) // any: it can be read again
	}
	list[binding] = k
}

// readKey reads what make wrote. Its errors show nothing of it.
func readKey(text string) (*key, error) {
	algorithm, encoded, _ := strings.Cut(text, ":")
	der, err := b64.DecodeString(encoded)
	if err != nil {
		return nil, lost("what is stored is not in a form that this program reads")
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, lost("what is stored is not a private key")
	}
	k, err := newKey(signer, algorithm)
	if err != nil || algorithm == "" {
		return nil, lost("what is stored is a key of another type than its algorithm")
	}
	return k, nil
}

// make makes a key of its own for a login.
func (c *keys) make(algorithm string) (binding, thumbprint string, err error) {
	signer, err := generate(algorithm)
	if err != nil {
		return "", "", err
	}
	k, err := newKey(signer, algorithm)
	if err != nil {
		return "", "", fmt.Errorf("dpop: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return "", "", fmt.Errorf("dpop: a new key cannot be written: %w", err)
	}
	defer clear(der)
	binding = keyPrefix + k.signer.Algorithm() + ":" + b64.EncodeToString(der)
	c.add(binding, k)
	return binding, k.thumbprint, nil
}

// rsaBits is the length of new keys of RSA.
const rsaBits = 2048

// generators make a key for an algorithm.
var generators = map[string]func() (crypto.Signer, error){
	"":      onCurve(elliptic.P256()),
	"ES256": onCurve(elliptic.P256()), "ES384": onCurve(elliptic.P384()), "ES512": onCurve(elliptic.P521()),
	"RS256": ofRSA, "RS384": ofRSA, "RS512": ofRSA, "PS256": ofRSA, "PS384": ofRSA, "PS512": ofRSA,
	"EdDSA": ofEd25519, "Ed25519": ofEd25519,
}

func canMake(algorithm string) bool { return generators[algorithm] != nil }

func generate(algorithm string) (crypto.Signer, error) {
	g := generators[algorithm]
	if g == nil {
		return nil, fmt.Errorf("dpop: no key can be made for the algorithm %q", algorithm)
	}
	signer, err := g()
	if err != nil {
		return nil, fmt.Errorf("dpop: a key cannot be made: %w", err)
	}
	return signer, nil
}

func onCurve(c elliptic.Curve) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(c, rand.Reader) }
}

func ofRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }

func ofEd25519() (crypto.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}
