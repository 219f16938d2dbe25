package endpoint_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpointtest"
)

const (
	plantedRefresh = endpointtest.Refresh
	plantedAccess  = endpointtest.Access
	plantedSecret  = endpointtest.Secret
)

var (
	serve  = endpointtest.Serve
	answer = endpointtest.Answer
)

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

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
	endpointtest.WantSilent(t, texts...)
}
