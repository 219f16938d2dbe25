package dpop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// remote is a key as an HSM or a TPM shows it.
type remote struct{ crypto.Signer }

func (r remote) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return r.Signer.Sign(random, digest, o)
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// signerFor makes a key for an algorithm, of which nothing but the methods can be seen.
func signerFor(t testing.TB, algorithm string) crypto.Signer {
	t.Helper()
	var signer crypto.Signer
	var err error
	switch algorithm {
	case "ES384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RS256", "PS256":
		signer = rsaKey()
	case "EdDSA":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return remote{signer}
}

// credentials is the grant of client credentials.
type credentials struct{}

func (credentials) Params(context.Context, *tokenclient.Token) (url.Values, error) {
	return url.Values{"grant_type": {"client_credentials"}}, nil
}

// code returns the params of a Login with a code for which a key was named.
func code(t *testing.T, srv *tokentest.Server, thumbprint string) url.Values {
	t.Helper()
	srv.Approve("alice")
	const verifier = "a-verifier-of-at-least-forty-three-characters-and-more"
	sum := sha256.Sum256([]byte(verifier))
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Get(srv.URL + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"tokentest"}, "redirect_uri": {"http://localhost/back"}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "dpop_jkt": {thumbprint},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil || back.Query().Get("code") == "" {
		t.Fatal(resp.Status, err)
	}
	return url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {"http://localhost/back"}, "code_verifier": {verifier}}
}
