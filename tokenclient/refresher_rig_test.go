package tokenclient_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	plantedRefresh = "planted-refresh-token-0123456789"
	plantedAccess  = "planted-access-token-0123456789"
	plantedSecret  = "planted-client-secret-0123456789"
)

var plantedToken = &tokenclient.Token{AccessToken: plantedAccess, RefreshToken: plantedRefresh}

// tokenEndpoint starts a server for the life of the test and counts its requests.
func tokenEndpoint(t *testing.T, h http.HandlerFunc) (srv *httptest.Server, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		h(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, calls
}

// answer is a handler that always answers so.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// oauth is a refresher for srv with a secret.
func oauth(srv *httptest.Server) *tokenclient.OAuth2Refresher {
	return &tokenclient.OAuth2Refresher{
		TokenURL:   srv.URL + "/token",
		ClientAuth: tokenclient.ClientSecretBasic("app", plantedSecret),
		HTTPClient: srv.Client(),
	}
}

// tokenError checks what every error of a token endpoint must be.
func tokenError(t *testing.T, err error) *tokenclient.TokenError {
	t.Helper()
	e, ok := err.(*tokenclient.TokenError)
	if !ok {
		t.Fatalf("error %v of type %T, want *TokenError", err, err)
	}
	for _, s := range []string{e.Error(), e.Code, e.Description, e.Endpoint} {
		if strings.Contains(strings.ToLower(s), "planted") {
			t.Errorf("a secret in %q", s)
		}
	}
	return e
}

// headerAuth is a ClientAuth of somebody else's.
type headerAuth map[string]string

func (a headerAuth) Authenticate(_ context.Context, _ string, _ url.Values, h http.Header) error {
	for name, value := range a {
		h.Set(name, value)
	}
	return nil
}

// basicHeader is what ClientSecretBasic sends.
func basicHeader(t *testing.T, id, secret string) string {
	t.Helper()
	h := http.Header{}
	if err := tokenclient.ClientSecretBasic(id, secret).Authenticate(t.Context(), "", nil, h); err != nil {
		t.Fatal(err)
	}
	return h.Get("Authorization")
}
