package clients_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// loginEndsRetries is for retryablehttp.Client.CheckRetry: that client tries again after whatever
// error, and waits in between.
func loginEndsRetries(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if errors.Is(err, tokenclient.ErrLoginRequired) {
		return false, err
	}
	return retryablehttp.DefaultRetryPolicy(ctx, resp, err)
}

// TestRetries: with loginEndsRetries the user hears at once that a login is needed.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		check retryablehttp.CheckRetry
		tries int
	}{
		"as it comes":      {retryablehttp.DefaultRetryPolicy, 5},
		"loginEndsRetries": {loginEndsRetries, 1},
	} {
		t.Run(name, func(t *testing.T) {
			session, srv := newSession(t, nil)
			if err := session.Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			tries := 0
			client := retryablehttp.NewClient()
			client.Logger, client.RetryWaitMin, client.RetryWaitMax = nil, time.Microsecond, time.Microsecond
			client.HTTPClient = session.Client()
			client.RequestLogHook = func(retryablehttp.Logger, *http.Request, int) { tries++ }
			client.CheckRetry = c.check
			client.ErrorHandler = func(_ *http.Response, err error, _ int) (*http.Response, error) { return nil, err }
			resp, err := client.Get(srv.URL + "/api/things")
			if err == nil {
				_ = resp.Body.Close()
			}
			if !errors.Is(err, tokenclient.ErrLoginRequired) || tries != c.tries {
				t.Errorf("%d tries, want %d, error %v", tries, c.tries, err)
			}
		})
	}
}

// TestRedirectBelow: a client below the session's transport takes the token to where a redirect
// leads, unless it follows none; one above does not.
func TestRedirectBelow(t *testing.T) {
	follows := func(next http.RoundTripper) http.RoundTripper {
		c := retryablehttp.NewClient()
		c.Logger, c.HTTPClient = nil, &http.Client{Transport: next}
		return &retryablehttp.RoundTripper{Client: c}
	}
	for name, c := range map[string]struct {
		over  func(*rig) http.RoundTripper
		taken bool
	}{
		"below":                 {below(follows), true},
		"below, following none": {below(retryable), false},
		"above":                 {above(follows), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, false)
			var token string
			other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { token = req.Header.Get("Authorization") }))
			defer other.Close()
			r.mux.Handle("/elsewhere", http.RedirectHandler(other.URL, http.StatusFound))
			client := &http.Client{Transport: c.over(r)}
			defer client.CloseIdleConnections()
			resp, err := client.Get(r.url + "/elsewhere")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := token != ""; got != c.taken {
				t.Errorf("the other server got a token: %v, want %v", got, c.taken)
			}
		})
	}
}
