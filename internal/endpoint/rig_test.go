package endpoint_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

const (
	plantedRefresh = "planted-refresh-token-0123456789"
	plantedAccess  = "planted-access-token-0123456789"
	plantedSecret  = "planted-client-secret-0123456789"
)

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// serve starts a server for the life of the test and counts its requests.
func serve(t *testing.T, h http.HandlerFunc) (srv *httptest.Server, calls *atomic.Int32) {
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

// refresh is a call that sends the planted refresh token to a server.
func refresh(srv *httptest.Server) *endpoint.Call {
	c := refreshAt(srv.URL + "/token?key=" + plantedSecret)
	c.Client = srv.Client()
	return c
}

func refreshAt(rawURL string) *endpoint.Call {
	return &endpoint.Call{
		Field: "Refresher.URL", URL: rawURL,
		Params:   []endpoint.Param{{Name: "grant_type", Value: "refresh_token"}, {Name: "refresh_token", Value: plantedRefresh}},
		Encoding: endpoint.Form,
		Secrets:  []string{plantedSecret},
	}
}

// through is a client with a transport that does f.
func through(f roundTripper) *http.Client { return &http.Client{Transport: f} }

// wantFailure makes a call that fails before there is an answer.
func wantFailure(t *testing.T, ctx context.Context, c *endpoint.Call) *endpoint.Failure {
	t.Helper()
	a, f := c.Do(ctx)
	if f == nil || a != nil {
		t.Fatalf("%v, %v, want a failure", a, f)
	}
	checkSecrets(t, f)
	return f
}

// wantAnswer makes a call that is answered.
func wantAnswer(t *testing.T, c *endpoint.Call) *endpoint.Answer {
	t.Helper()
	a, f := c.Do(t.Context())
	if f != nil || a == nil {
		t.Fatalf("%v, %v, want an answer", a, f)
	}
	return a
}

// checkSecrets looks for secrets in what a failure shows, and in all that is below.
func checkSecrets(t *testing.T, f *endpoint.Failure) {
	t.Helper()
	texts := []string{f.Endpoint, f.Code, f.Description}
	for errs := []error{f.Cause}; len(errs) > 0; errs = errs[1:] {
		if errs[0] == nil {
			continue
		}
		texts = append(texts, errs[0].Error())
		switch e := errs[0].(type) {
		case interface{ Unwrap() error }:
			errs = append(errs, e.Unwrap())
		case interface{ Unwrap() []error }:
			errs = append(errs, e.Unwrap()...)
		}
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), "planted") {
			t.Errorf("a secret in %q", text)
		}
	}
}
