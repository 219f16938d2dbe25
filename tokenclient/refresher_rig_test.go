package tokenclient_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpointtest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	plantedRefresh = endpointtest.Refresh
	plantedAccess  = endpointtest.Access
	plantedSecret  = endpointtest.Secret
)

var (
	tokenEndpoint = endpointtest.Serve
	answer        = endpointtest.Answer
)

var plantedToken = &tokenclient.Token{AccessToken: plantedAccess, RefreshToken: plantedRefresh}

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
	endpointtest.WantSilent(t, e.Error(), e.Code, e.Description, e.Endpoint)
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
