package dpop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

// vectors are the examples of RFC 9449, and that of RFC 7638, section 3.1, whose thumbprint is
// RFC 9449's example of a dpop_jkt (section 10).
type vectors struct {
	JWK        struct{ X, Y string }
	Thumbprint string
	Proofs     []struct {
		Section, Method, URL, Token, Ath, Want string
		Iat                                    int64
	}
	RFC7638 struct{ N, E, Thumbprint string }
}

func readVectors(t *testing.T) (v vectors, public *ecdsa.PublicKey) {
	t.Helper()
	b, err := os.ReadFile("testdata/rfc9449.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Proofs) != 2 {
		t.Fatalf("%v, %d proofs", err, len(v.Proofs))
	}
	public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, decode(t, v.JWK.X)...), decode(t, v.JWK.Y)...))
	if err != nil {
		t.Fatal(err)
	}
	return v, public
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC9449Thumbprints: those of the RFCs' keys.
func TestRFC9449Thumbprints(t *testing.T) {
	v, public := readVectors(t)
	long := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(t, v.RFC7638.N)), E: int(new(big.Int).SetBytes(decode(t, v.RFC7638.E)).Int64())}
	for want, key := range map[string]crypto.PublicKey{v.Thumbprint: public, v.RFC7638.Thumbprint: long} {
		if got, err := dpop.Thumbprint(key); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// publicOnly is the RFC's key, whose private half nobody has told: what it signs is worth
// nothing.
type publicOnly struct{ public *ecdsa.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.public }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(1), big.NewInt(1)})
}

// TestRFC9449Proofs: for the requests of the RFC a proof says what the RFC's says, at the same
// time; and the RFC's own one is signed by the RFC's key.
func TestRFC9449Proofs(t *testing.T) {
	v, public := readVectors(t)
	for _, tc := range v.Proofs {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Unix(tc.Iat, 0))) // no time at all if it is over
			p := &dpop.Prover{Signer: publicOnly{public}}
			req, err := http.NewRequestWithContext(t.Context(), tc.Method, tc.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.Token == "" {
				_, proof, err := p.Bind(t.Context(), new(tokenclient.Token))
				if err != nil {
					t.Fatal(err)
				}
				err = proof.Attach(req, new(tokenclient.Token))
				if err != nil || req.Header.Get("Authorization") != "" {
					t.Fatal(err, req.Header)
				}
			} else {
				err := p.Attach(req, &tokenclient.Token{AccessToken: tc.Token, TokenType: "DPoP"})
				if err != nil || req.Header.Get("Authorization") != "DPoP "+tc.Token {
					t.Fatal(err, req.Header)
				}
			}
			if _, err := jwt.Parse(tc.Want, func(*jwt.Token) (any, error) { return public, nil }, jwt.WithoutClaimsValidation()); err != nil {
				t.Errorf("section %s: the RFC's own proof: %v", tc.Section, err)
			}
			got, want := split(t, req.Header.Get("DPoP")), split(t, tc.Want)
			if !reflect.DeepEqual(got[0], want[0]) {
				t.Errorf("section %s: header %v, want %v", tc.Section, got[0], want[0])
			}
			if id, _ := got[1]["jti"].(string); len(id) < 16 || id == want[1]["jti"] {
				t.Errorf("jti %q", id)
			}
			if tc.Ath != "" && want[1]["ath"] != tc.Ath {
				t.Errorf("the RFC's ath is %v", want[1]["ath"])
			}
			at, _ := got[1]["iat"].(float64)
			if int64(at) != time.Now().Unix() || want[1]["iat"] != float64(tc.Iat) {
				t.Errorf("iat %v, want %v", at, time.Now().Unix())
			}
			for _, of := range got[1:2] {
				of["jti"], of["iat"] = want[1]["jti"], want[1]["iat"]
			}
			if !reflect.DeepEqual(got[1], want[1]) {
				t.Errorf("section %s: claims %v, want %v", tc.Section, got[1], want[1])
			}
		})
	}
}

// split returns the header and the claims of a JWT.
func split(t testing.TB, text string) (parts []map[string]any) {
	t.Helper()
	for _, part := range strings.Split(text, ".")[:2] {
		var m map[string]any
		if err := json.Unmarshal(decode(t, part), &m); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, m)
	}
	return parts
}
