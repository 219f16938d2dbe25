package clientauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	tokenURL      = "https://auth.example.com/token"
	plantedSecret = "planted-client-secret-0123456789-0123456789"
)

var p256 = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// authenticated returns what auth adds to a request to the token endpoint.
func authenticated(t *testing.T, auth tokenclient.ClientAuth) (url.Values, http.Header) {
	t.Helper()
	form, header := url.Values{}, http.Header{}
	if err := auth.Authenticate(t.Context(), tokenURL, form, header); err != nil {
		t.Fatal(err)
	}
	return form, header
}

// assertion returns header and claims of the form's assertion, which public verifies.
func assertion(t *testing.T, form url.Values, public any) (map[string]any, jwt.MapClaims) {
	t.Helper()
	if got := form.Get("client_assertion_type"); got != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Errorf("client_assertion_type %q", got)
	}
	token, err := jwt.Parse(form.Get("client_assertion"), func(*jwt.Token) (any, error) { return public, nil },
		jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithStrictDecoding())
	if err != nil {
		t.Fatal(err)
	}
	return token.Header, token.Claims.(jwt.MapClaims)
}

// An endpoint is a token endpoint that notes the forms it gets.
type endpoint struct {
	*httptest.Server

	mu    sync.Mutex
	forms []url.Values
}

// newEndpoint starts one that calls answer with the count of requests, this one included.
func newEndpoint(t *testing.T, answer func(w http.ResponseWriter, form url.Values, n int)) *endpoint {
	t.Helper()
	e := new(endpoint)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		e.mu.Lock()
		e.forms = append(e.forms, form)
		n := len(e.forms)
		e.mu.Unlock()
		answer(w, form, n)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) got() []url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]url.Values(nil), e.forms...)
}

// session is one that refreshes at e, with a token.
func (e *endpoint) session(t *testing.T, auth tokenclient.ClientAuth) *tokenclient.Session {
	t.Helper()
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{TokenURL: e.URL + "/token", ClientAuth: auth},
		Origins:   []string{"https://api.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "access-1", RefreshToken: "refresh-1"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// clientCertificate returns one that its own key has signed, for my-app.
var clientCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "my-app"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
})
