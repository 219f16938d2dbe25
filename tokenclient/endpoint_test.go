package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
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

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

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

// TestEndpointRedirect: the body holds the refresh token, so it must not go
// anywhere else, whatever the status says.
func TestEndpointRedirect(t *testing.T) {
	other, calls := tokenEndpoint(t, answer(200, "application/json", `{"access_token":"stolen"}`))
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL+"/elsewhere?token="+plantedRefresh)
			w.WriteHeader(status)
		})
		_, err := oauth(srv).Refresh(t.Context(), plantedToken)
		e := tokenError(t, err)
		host := strings.TrimPrefix(other.URL, "http://")
		if e.StatusCode != status || !strings.Contains(e.Error(), "redirected to "+host+"; refusing to follow") || strings.Contains(e.Error(), "elsewhere") {
			t.Errorf("%d: %v", status, e)
		}
		if e.Temporary() || errors.Is(err, tokenclient.ErrLoginRequired) || errors.Is(err, tokenclient.ErrNotPresented) {
			t.Errorf("%d: wrong kind of error: %v", status, err)
		}
	}
	for _, location := range []string{"", "/here", "https://" + plantedRefresh + ".example.com/", ":"} {
		srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(307)
		})
		_, err := oauth(srv).Refresh(t.Context(), plantedToken)
		if e := tokenError(t, err); !strings.HasSuffix(e.Error(), "status 307: redirected; refusing to follow: the body holds a credential") {
			t.Errorf("to %q: %v", location, e)
		}
	}
	if calls.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestEndpointLeavesTheClientAlone: the caller's client is copied, and its
// cookies are kept.
func TestEndpointLeavesTheClientAlone(t *testing.T) {
	srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("node"); err != nil {
			http.SetCookie(w, &http.Cookie{Name: "node", Value: "7"})
			w.WriteHeader(503)
			return
		}
		answer(200, "application/json", `{"access_token":"a"}`)(w, r)
	})
	client := srv.Client()
	client.Jar, _ = cookiejar.New(nil)
	r := oauth(srv)
	r.HTTPClient = client
	if _, err := r.Refresh(t.Context(), plantedToken); tokenError(t, err).StatusCode != 503 {
		t.Errorf("first call: %v", err)
	}
	if _, err := r.Refresh(t.Context(), plantedToken); err != nil {
		t.Errorf("the cookie was lost: %v", err)
	}
	if client.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

// TestEndpointRequestIsNotRepeatable: with GetBody or an Idempotency-Key, net/http
// would present the refresh token a second time by itself.
func TestEndpointRequestIsNotRepeatable(t *testing.T) {
	r := &tokenclient.OAuth2Refresher{
		TokenURL:   "https://auth.example.com/token",
		ClientAuth: headerAuth{"Idempotency-Key": "x", "X-Idempotency-Key": "x"},
		HTTPClient: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.GetBody != nil {
				t.Error("GetBody is set")
			}
			for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
				if _, ok := req.Header[name]; ok {
					t.Errorf("%s is set", name)
				}
			}
			if req.Method != "POST" || req.Header.Get("Accept") != "application/json" || req.ContentLength <= 0 {
				t.Errorf("%s, Accept %q, length %d", req.Method, req.Header.Get("Accept"), req.ContentLength)
			}
			return nil, errors.New("enough")
		})},
	}
	if _, err := r.Refresh(t.Context(), plantedToken); err == nil {
		t.Error("no error")
	}
}

// headerAuth is a ClientAuth of somebody else's.
type headerAuth map[string]string

func (a headerAuth) Authenticate(_ context.Context, _ string, _ url.Values, h http.Header) error {
	for name, value := range a {
		h.Set(name, value)
	}
	return nil
}

// TestEndpointURL: a URL that would show the tokens to others costs none.
func TestEndpointURL(t *testing.T) {
	for _, c := range []struct {
		url      string
		insecure bool
		want     string // "": allowed
	}{
		{"https://auth.example.com/token", false, ""},
		{"https://auth.example.com/token?tenant=1", false, ""},
		{"http://localhost:8080/token", false, ""},
		{"http://LOCALHOST/token", false, ""},
		{"http://127.0.0.1:8080/token", false, ""},
		{"http://127.1.2.3/token", false, ""},
		{"http://[::1]:8080/token", false, ""},
		{"http://auth.example.com/token", true, ""},
		{"", false, "TokenURL is empty; write it like"},
		{"auth.example.com/token", false, "does not begin with https:// or http://; write it like"},
		{"/token", false, "does not begin with https://"},
		{"ftp://auth.example.com/token", true, "does not begin with https://"},
		{"https:auth.example.com/token", false, "has no host"},
		{"https:///token", false, "has no host"},
		{"https://:443/token", false, "has no host"},
		{"https://app:planted@auth.example.com/token", false, "has user information in it"},
		{"https://auth.example.com/token#x", false, "has a fragment"},
		{"https://auth.example.com:planted/token", false, "is not a URL"},
		{"http://auth.example.com/token?key=planted", false, "is plain http beyond this machine"},
		{"http://localhost.example.com/token", false, "is plain http beyond this machine"},
		{"http://128.0.0.1/token", false, "is plain http beyond this machine"},
		{"http://10.0.0.1/token", false, "InsecureHTTP"},
	} {
		called := false
		r := &tokenclient.OAuth2Refresher{
			TokenURL: c.url, ClientAuth: tokenclient.PublicClient("app"), InsecureHTTP: c.insecure,
			HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				called = true
				return nil, errors.New("enough")
			})},
		}
		_, err := r.Refresh(t.Context(), plantedToken)
		tokenError(t, err)
		switch {
		case called != (c.want == ""):
			t.Errorf("%q: request made: %v", c.url, called)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%q: error %q does not say %q", c.url, err, c.want)
		case !errors.Is(err, tokenclient.ErrNotPresented):
			t.Errorf("%q: %v is not ErrNotPresented", c.url, err)
		}
	}
}
