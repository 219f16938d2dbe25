package grant_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
)

const planted = "planted-token-0123456789-0123456789"

var p256 = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// A server is a token endpoint that notes the forms it gets, and an API that takes the
// token it made last.
type server struct {
	*httptest.Server

	mu     sync.Mutex
	forms  []url.Values
	issued int
	answer func(w http.ResponseWriter, form url.Values, n int) bool // true: nothing was said
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := new(server)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", s.issued) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forms = append(s.forms, form)
	if s.answer == nil || s.answer(w, form, len(s.forms)) {
		s.issued++
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, s.issued)
	}
}

// revoke has the API take no token that was made so far.
func (s *server) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
}

func (s *server) got() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.forms)
}

// session is one with that grant, which has no token yet.
func (s *server) session(t *testing.T, g tokenclient.Grant) *tokenclient.Session {
	t.Helper()
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL: s.URL + "/token", ClientAuth: clientauth.NoClient(), Grant: g, Scope: "read",
		},
		Origins: []string{s.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return session
}

// get asks the API, which must answer 200.
func (s *server) get(t *testing.T, session *tokenclient.Session) {
	t.Helper()
	resp, err := session.Client().Get(s.URL + "/api")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
}

// returning is a function that returns a token.
func returning(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// parsed returns header and claims of an assertion that p256 has signed.
func parsed(t *testing.T, assertion string) (map[string]any, jwt.MapClaims) {
	t.Helper()
	token, err := jwt.Parse(assertion, func(*jwt.Token) (any, error) { return p256().Public(), nil },
		jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithStrictDecoding())
	if err != nil {
		t.Fatal(err)
	}
	return token.Header, token.Claims.(jwt.MapClaims)
}
