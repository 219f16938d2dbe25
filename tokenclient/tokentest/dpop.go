package tokentest

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// DPoP has a [Server] bind tokens to keys (RFC 9449). A call of /oauth/token, /token/refresh
// and the API has to have a proof then, which is verified strictly: its signature, typ, htm, htu as
// it came on the wire, a jti that never came before, iat, ath, and the nonce. Tokens are bound to the key
// of the proof, their type is DPoP, and the API takes them with a proof by that key alone. A
// code is bound to the dpop_jkt of its authorization request. /login has no proofs, and
// /oauth/revoke needs none.
type DPoP struct {
	// TokenNonce and APINonce have the server demand its nonces in proofs, those of the
	// token endpoints and those of the API. Each of its answers brings a new one.
	TokenNonce, APINonce bool

	// NonceUses is how often a nonce is taken. 1: none is good for a second proof. Zero: as
	// often as one likes.
	NonceUses int

	// NonceLifetime is how long a nonce is taken. Zero: as long as the server runs.
	NonceLifetime time.Duration

	// Window is how much iat may differ from the server's clock, which Options.ClockSkew
	// puts off and the Date of each answer shows. Zero: 30 seconds.
	Window time.Duration
}

// proofAlgorithms are those that a proof may be signed by.
var proofAlgorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}

// proofs is what the server remembers of them.
type proofs struct {
	ids    map[string]bool
	nonces map[string]*nonce
}

type nonce struct {
	api  bool
	made time.Time
	uses int
}

type thumbprintKey struct{}

// thumbprintOf returns that of the key that r has a proof of.
func thumbprintOf(r *http.Request) string {
	jkt, _ := r.Context().Value(thumbprintKey{}).(string)
	return jkt
}

// proved has next see only what has a good proof, where one is needed.
func (s *Server) proved(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		o := s.options
		s.mu.Unlock()
		api := strings.HasPrefix(r.URL.Path, "/api/")
		optional := r.URL.Path == "/oauth/revoke" && len(r.Header["Dpop"]) == 0
		if o.DPoP != nil && o.ClockSkew != 0 {
			w.Header().Set("Date", o.now().UTC().Format(http.TimeFormat))
		}
		if o.DPoP == nil || optional || !api && r.URL.Path != "/oauth/token" && r.URL.Path != "/token/refresh" && r.URL.Path != "/oauth/revoke" {
			next.ServeHTTP(w, r)
			return
		}
		if api && o.DPoP.APINonce || !api && o.DPoP.TokenNonce {
			w.Header().Set("DPoP-Nonce", s.newNonce(api))
		}
		jkt, err := s.verify(r, &o, api)
		if err != nil {
			s.refuseProof(w, api, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), thumbprintKey{}, jkt)))
	})
}

var errNonce = errors.New("the proof has no nonce of this server that is still good")

func (s *Server) newNonce(api bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := rand.Text()
	s.proofs.nonces[text] = &nonce{api: api, made: time.Now()}
	return text
}

// refuseProof answers what has no good proof (RFC 9449, sections 5, 7.1, 8 and 9).
func (s *Server) refuseProof(w http.ResponseWriter, api bool, why error) {
	code := "invalid_dpop_proof"
	s.mu.Lock()
	if errors.Is(why, errNonce) {
		code = "use_dpop_nonce"
		s.counters.NonceChallenges++
	} else {
		s.counters.BadProofs++
	}
	s.mu.Unlock()
	a := refusal(http.StatusBadRequest, code, why.Error())
	if api {
		a.status = http.StatusUnauthorized
		a.challenge = fmt.Sprintf("DPoP error=%q, error_description=%q, algs=%q", code, why.Error(), strings.Join(proofAlgorithms, " "))
	}
	a.write(w)
}

// verify returns the thumbprint of the key that r has a proof of (RFC 9449, section 4.3).
func (s *Server) verify(r *http.Request, o *Options, api bool) (jkt string, err error) {
	if len(r.Header["Dpop"]) != 1 {
		return "", fmt.Errorf("there are %d proofs", len(r.Header["Dpop"]))
	}
	var claims struct {
		jwt.RegisteredClaims
		Method string `json:"htm"`
		Target string `json:"htu"`
		Hash   string `json:"ath"`
		Nonce  string `json:"nonce"`
	}
	token, err := jwt.NewParser(jwt.WithValidMethods(proofAlgorithms), jwt.WithoutClaimsValidation()).ParseWithClaims(r.Header["Dpop"][0], &claims, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != "dpop+jwt" {
			return nil, errors.New("its typ is not dpop+jwt")
		}
		var key crypto.PublicKey
		var err error
		key, jkt, err = publicKey(t.Header["jwk"])
		return key, err
	})
	if err != nil || !token.Valid {
		return "", fmt.Errorf("the proof cannot be verified: %w", err)
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	scheme, _, _ := strings.Cut(s.URL, ":")
	switch want := scheme + "://" + strings.ToLower(r.Host) + path; {
	case claims.ID == "" || claims.IssuedAt == nil:
		return "", errors.New("the proof has no jti, or no iat")
	case claims.Method != r.Method:
		return "", fmt.Errorf("htm is %q", claims.Method)
	case claims.Target != want:
		return "", fmt.Errorf("htu is %q, and the request is for %q", claims.Target, want)
	case claims.IssuedAt.Sub(o.now()).Abs() > cmp.Or(o.DPoP.Window, 30*time.Second):
		return "", fmt.Errorf("iat is %v off", claims.IssuedAt.Sub(o.now()).Round(time.Second))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proofs.ids[claims.ID] {
		return "", errors.New("the jti came before")
	}
	s.proofs.ids[claims.ID] = true
	if api && o.DPoP.APINonce || !api && o.DPoP.TokenNonce {
		n := s.proofs.nonces[claims.Nonce]
		if n == nil || n.api != api || o.DPoP.NonceLifetime > 0 && time.Since(n.made) > o.DPoP.NonceLifetime || o.DPoP.NonceUses > 0 && n.uses >= o.DPoP.NonceUses {
			return "", errNonce
		}
		n.uses++
	}
	if api {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		sum := sha256.Sum256([]byte(token))
		if claims.Hash != base64.RawURLEncoding.EncodeToString(sum[:]) {
			return "", errors.New("ath is not of the token that it came with")
		}
	}
	return jkt, nil
}

// publicKey reads a JWK (RFC 7517), and returns its thumbprint (RFC 7638) too.
func publicKey(jwk any) (crypto.PublicKey, string, error) {
	m, _ := jwk.(map[string]any)
	if _, private := m["d"]; private || m == nil {
		return nil, "", errors.New("jwk is none, or shows a private key")
	}
	bytesOf := func(name string) []byte {
		text, _ := m[name].(string)
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil
		}
		return b
	}
	curves := map[any]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	var key crypto.PublicKey
	var members []string
	var err error
	switch m["kty"] {
	case "EC":
		members = []string{"crv", "kty", "x", "y"}
		curve := curves[m["crv"]]
		if curve == nil {
			return nil, "", errors.New("an unknown curve")
		}
		key, err = ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, bytesOf("x")...), bytesOf("y")...))
	case "RSA":
		members = []string{"e", "kty", "n"}
		key = &rsa.PublicKey{N: new(big.Int).SetBytes(bytesOf("n")), E: int(new(big.Int).SetBytes(bytesOf("e")).Int64())}
	case "OKP":
		members = []string{"crv", "kty", "x"}
		if x := bytesOf("x"); m["crv"] == "Ed25519" && len(x) == ed25519.PublicKeySize {
			key = ed25519.PublicKey(x)
		} else {
			err = errors.New("no Ed25519 key")
		}
	default:
		err = errors.New("an unknown kty")
	}
	required := make(map[string]any, len(members))
	for _, name := range members {
		required[name] = m[name]
	}
	canonical, _ := json.Marshal(required) // sorted; these are strings
	sum := sha256.Sum256(canonical)
	return key, base64.RawURLEncoding.EncodeToString(sum[:]), err
}

// IssueBound is [Server.Issue] of a pair that is bound to the key with a thumbprint, as the
// login of a client with proofs would make it. Its Binding is for the client to set.
func (s *Server) IssueBound(user, thumbprint string) *tokenclient.Token {
	t := s.Issue(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findLocked(t.AccessToken).family.jkt = thumbprint
	t.TokenType = "DPoP"
	return t
}

// bindLocked binds f, for which a call with a proof by a key asks for tokens, or says why not.
func (s *Server) bindLocked(f *family, jkt string) (why string) {
	switch {
	case f.jkt == "":
		f.jkt = jkt
	case f.jkt != jkt:
		return "the tokens are bound to another key"
	}
	return ""
}
