package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestRefresherErrors: every way in which a call can fail is a *TokenError that says so,
// whoever makes the call.
func TestRefresherErrors(t *testing.T) {
	answered := func(status int, body string) sessiontest.RoundTrip {
		return func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return &http.Response{StatusCode: status, Request: req, Body: io.NopCloser(strings.NewReader(body)),
				Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {"7"}, "Location": {"https://other.example.com/x"}}}, nil
		}
	}
	cutAfter := func(n int) sessiontest.RoundTrip {
		return func(req *http.Request) (*http.Response, error) {
			_, _ = io.CopyN(io.Discard, req.Body, int64(n))
			return nil, io.ErrUnexpectedEOF
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx          context.Context
		url          string
		does         sessiontest.RoundTrip
		want         tokenclient.TokenError // but for Err
		temporary    bool
		notPresented bool
		says         string
		is           error
	}{
		"refused URL": {url: "http://auth.example.com/x", temporary: true, notPresented: true,
			want: tokenclient.TokenError{Endpoint: "auth.example.com/x"}, says: "is plain http beyond this machine"},
		"ended":         {ctx: ended, does: cutAfter(0), temporary: true, notPresented: true, says: "context canceled", is: context.Canceled},
		"not connected": {does: cutAfter(0), temporary: true, notPresented: true, says: ": unexpected EOF", is: io.ErrUnexpectedEOF},
		"cut":           {does: cutAfter(1), temporary: true, says: "token endpoint auth.example.com/token: unexpected EOF", is: io.ErrUnexpectedEOF},
		"answer cut": {does: func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return &http.Response{StatusCode: 400, Request: req, Body: io.NopCloser(iotest.ErrReader(io.ErrClosedPipe))}, nil
		}, temporary: true, says: ": the answer broke off: "},
		"redirect": {does: answered(307, ""), want: tokenclient.TokenError{StatusCode: 307, RetryAfter: 7 * time.Second},
			says: ": status 307: redirected to other.example.com; refusing to follow: the body holds a credential"},
		"refused": {does: answered(400, `{"error":"invalid_scope","error_description":"no such scope: x"}`),
			want: tokenclient.TokenError{StatusCode: 400, Code: "invalid_scope", Description: "no such scope: x", RetryAfter: 7 * time.Second},
			says: "tokenclient: token endpoint auth.example.com/token: status 400: invalid_scope (no such scope: x)"},
		"echo": {does: answered(400, `{"error":"x","error_description":"`+plantedRefresh+plantedPassword+`"}`),
			want: tokenclient.TokenError{StatusCode: 400, Code: "x", Description: "[redacted]", RetryAfter: 7 * time.Second}, says: "status 400: x ([redacted])"},
		"overloaded": {does: answered(503, "<html>"), want: tokenclient.TokenError{StatusCode: 503, RetryAfter: 7 * time.Second},
			temporary: true, says: ": status 503: answer is HTML, not JSON"},
		"no token": {does: answered(200, `{"error":"slow"}`), want: tokenclient.TokenError{StatusCode: 200, Code: "slow", RetryAfter: 7 * time.Second},
			temporary: true, says: ": status 200: slow: answer has no access_token"},
	} {
		if c.ctx == nil {
			c.ctx = t.Context()
		}
		if c.url == "" {
			c.url, c.want.Endpoint = "https://auth.example.com/token?key=planted", "auth.example.com/token"
		}
		client := &http.Client{Transport: c.does}
		auth := tokenclient.ClientSecretBasic("app", plantedSecret)
		for who, call := range map[string]func() error{
			"OAuth2": func() error {
				_, err := (&tokenclient.OAuth2Refresher{TokenURL: c.url, HTTPClient: client, ClientAuth: auth}).Refresh(c.ctx, plantedToken)
				return err
			},
			"JSON": func() error {
				_, err := (&tokenclient.JSONRefresher{TokenURL: c.url, HTTPClient: client}).Refresh(c.ctx, plantedToken)
				return err
			},
			"login": func() error {
				_, err := (&tokenclient.PasswordLogin{URL: c.url, HTTPClient: client}).Login(c.ctx, "alice", plantedPassword)
				return err
			},
			"Revoke": func() error {
				if name == "no token" { // it wants none
					return nil
				}
				return (&tokenclient.OAuth2Refresher{RevocationURL: c.url, HTTPClient: client, ClientAuth: auth}).Revoke(c.ctx, plantedToken)
			},
		} {
			err := call()
			if err == nil && who == "Revoke" {
				continue
			}
			e := tokenError(t, err)
			got := *e
			got.Err = nil
			if got != c.want || !strings.Contains(e.Error(), c.says) {
				t.Errorf("%s, %s: %#v: %v", name, who, got, e)
			}
			if e.Temporary() != c.temporary || errors.Is(err, tokenclient.ErrNotPresented) != c.notPresented || errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("%s, %s: wrong kind of error: %v", name, who, err)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s, %s: %v is not %v", name, who, err, c.is)
			}
		}
	}
}

// TestRefresherTimeout: an error says that it was the time, whose ever it was.
func TestRefresherTimeout(t *testing.T) {
	hang := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	for name, limit := range map[string]struct{ context, client time.Duration }{
		"context":             {time.Minute, time.Hour},
		"http.Client.Timeout": {time.Hour, time.Minute},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit.context)
			defer cancel()
			client := &http.Client{Transport: hang, Timeout: limit.client}
			r := &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/refresh", HTTPClient: client}
			_, err := r.Refresh(ctx, plantedToken)
			e := tokenError(t, err)
			if !e.Timeout() || !e.Temporary() || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tokenclient.ErrNotPresented) {
				t.Errorf("wrong kind of error: %v", err)
			}
		})
	}
}

// TestRefresherTransportErrors: what a transport says is passed on, but for its
// secrets, the query of the URL, and verdicts that are not about this token.
func TestRefresherTransportErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	for name, c := range map[string]struct {
		err   error
		is    error
		isNot []error
		says  string
	}{
		"plain":             {broken, broken, []error{tokenclient.ErrNotPresented}, "broken pipe"},
		"with URL":          {&url.Error{Op: "Post", URL: "https://x/?key=planted", Err: broken}, broken, nil, ": broken pipe"},
		"echo":              {errors.New("cannot send " + plantedRefresh), nil, nil, "may hold a secret"},
		"echo, timeout":     {errors.Join(errors.New(plantedRefresh), context.DeadlineExceeded), context.DeadlineExceeded, nil, "may hold a secret"},
		"another session's": {tokenclient.ErrLoggedOut, nil, []error{tokenclient.ErrLoginRequired, tokenclient.ErrLoggedOut}, "logged out"},
		"not presented":     {tokenclient.ErrNotPresented, nil, []error{tokenclient.ErrNotPresented}, "not presented"},
		"reentrant":         {tokenclient.ErrReentrant, tokenclient.ErrReentrant, nil, ""},
	} {
		r := &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/refresh?key=planted",
			HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, req.Body)
				return nil, c.err
			})}}
		_, err := r.Refresh(t.Context(), plantedToken)
		tokenError(t, err)
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", name, err, c.is)
		}
		for _, not := range c.isNot {
			if errors.Is(err, not) {
				t.Errorf("%s: %v is %v", name, err, not)
			}
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %q does not say %q", name, err, c.says)
		}
	}
}

// TestRefresherAnswers is the table of answers that must and must not end a
// session: tokens are given up for a terminal answer only.
func TestRefresherAnswers(t *testing.T) {
	const (
		keep     = "keep"     // only a change of configuration mends it
		retry    = "retry"    // it may pass
		terminal = "terminal" // only a login helps
	)
	const js, form, page = "application/json", "application/x-www-form-urlencoded; charset=utf-8", "text/html"
	for _, c := range []struct {
		status      int
		kind, body  string
		oauth, json string // want
	}{
		{400, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{401, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{403, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{400, js, `{"error":{"code":"invalid_grant","message":"gone"}}`, terminal, terminal},
		{400, js, `{"code":"invalid_grant","message":"gone"}`, terminal, terminal},
		{400, form, `error=invalid_grant&error_description=gone`, terminal, terminal},
		{200, js, `{"error":"bad_refresh_token","error_description":"expired"}`, terminal, terminal}, // GitHub
		{200, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{408, js, `{"error":"invalid_grant"}`, retry, retry},
		{425, js, `{"error":"invalid_grant"}`, retry, retry},
		{429, js, `{"error":"invalid_grant"}`, retry, retry},
		{500, js, `{"error":"invalid_grant"}`, retry, retry},
		{503, form, `error=invalid_grant`, retry, retry},

		{401, js, ``, keep, terminal},
		{401, js, `{}`, keep, terminal},
		{401, js, `{"error":"Unauthorized","message":"Token expired"}`, keep, terminal},
		{401, js, `{"code":401,"msg":"token invalid"}`, keep, terminal},
		{401, js, `{"error":"invalid_token"}`, terminal, terminal},
		{401, "text/plain", `Unauthorized`, keep, terminal},
		{401, js, `{"error":"invalid_client"}`, keep, keep},
		{401, js, `{"error":{"code":"invalid_client"}}`, keep, keep},
		{401, form, `error=invalid_client`, keep, keep},
		{401, js, `{"error":"unauthorized_client"}`, keep, keep},
		{401, js, `{"error":"temporarily_unavailable"}`, keep, keep},
		{401, js, `{"error":"use_dpop_nonce"}`, keep, keep},
		{401, page, `<html><h1>401 Authorization Required</h1></html>`, keep, keep},

		{400, js, ``, keep, keep},
		{400, js, `{"error":"invalid_client"}`, keep, keep},
		{400, js, `{"error":"unauthorized_client"}`, keep, keep},
		{400, js, `{"error":"temporarily_unavailable"}`, keep, keep},
		{400, js, `{"error_description":"invalid_grant"}`, keep, keep},
		{400, js, `{"error":"invalid_grant`, keep, keep}, // cut: no code
		{400, page, `<html>invalid_grant</html>`, keep, keep},
		{403, js, ``, keep, keep},
		{403, page, `<html>rate limited</html>`, keep, keep},
		{404, page, `<html>not found</html>`, keep, keep},
		{407, page, ``, keep, keep},
		{429, js, ``, retry, retry},
		{500, js, ``, retry, retry},
		{502, page, `<html>bad gateway</html>`, retry, retry},
		{503, js, `{"error":"temporarily_unavailable"}`, retry, retry},

		{200, js, ``, retry, retry},
		{200, js, `{}`, retry, retry},
		{200, js, `{"access_token":""}`, retry, retry},
		{200, js, `{"access_token":"a\u0001"}`, retry, retry},
		{200, js, `{"access_token":"a"`, retry, retry},
		{200, page, `<html>log in to the network</html>`, retry, retry},
		{200, js, `{"x":"` + strings.Repeat("x", 10<<20) + `"}`, retry, retry},
		{204, js, ``, retry, retry},
	} {
		srv, calls := tokenEndpoint(t, answer(c.status, c.kind, c.body))
		json := &tokenclient.JSONRefresher{TokenURL: srv.URL + "/refresh", HTTPClient: srv.Client()}
		for _, r := range []struct {
			name string
			r    tokenclient.Refresher
			want string
		}{{"OAuth2", oauth(srv), c.oauth}, {"JSON", json, c.json}} {
			tok, err := r.r.Refresh(t.Context(), plantedToken)
			e := tokenError(t, err)
			got := keep
			switch {
			case errors.Is(err, tokenclient.ErrLoginRequired):
				got = terminal
			case e.Temporary():
				got = retry
			}
			if got != r.want || tok != nil {
				t.Errorf("%s, %d %.60s: %s, want %s: %v", r.name, c.status, c.body, got, r.want, err)
			}
			if e.StatusCode != c.status || errors.Is(err, tokenclient.ErrNotPresented) || got == terminal && e.Temporary() {
				t.Errorf("%s, %d %.60s: status %d: %v", r.name, c.status, c.body, e.StatusCode, err)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%d %.60s: %d requests, want 2", c.status, c.body, calls.Load())
		}
	}
}
