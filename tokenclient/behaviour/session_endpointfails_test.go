package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// What is to be kept from happening: a transient failure is treated as a logout, or a
// resource's 401 destroys a good refresh token.

// endpointFailure is what the token endpoint does from some moment on.
type endpointFailure struct {
	name  string
	json  bool // the endpoint is not OAuth's
	fault *tokentest.Fault
	late  bool  // it does not answer in time
	err   error // the network's, after the request was sent
	unset bool  // and nothing was sent

	terminal   bool
	temporary  bool
	timeout    bool
	status     int
	presented  int32 // by one refresh that somebody waits for
	retryAfter time.Duration
}

func answerFault(status int, body string) *tokentest.Fault {
	return &tokentest.Fault{Status: status, Body: body}
}

const proxyHTML = "<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>"

var endpointFailures = []endpointFailure{
	{name: "timeout", late: true, temporary: true, timeout: true, presented: 1},
	{name: "DNS", unset: true, err: &net.DNSError{Err: "no such host", Name: "auth.example.com", IsNotFound: true}, temporary: true},
	{name: "connection refused", unset: true, err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, temporary: true},
	{name: "connection reset", err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, temporary: true, presented: 2},
	{name: "connection cut", fault: &tokentest.Fault{Cut: true}, temporary: true, presented: 2},
	{name: "answer cut", fault: &tokentest.Fault{Status: 200, Cut: true, Body: `{"access_token":"x`, Header: http.Header{"Content-Length": {"1000"}}}, temporary: true, presented: 2},
	{name: "408", fault: answerFault(408, ""), temporary: true, status: 408, presented: 1},
	{name: "425", fault: answerFault(425, ""), temporary: true, status: 425, presented: 1},
	{name: "429", fault: &tokentest.Fault{Status: 429, Header: http.Header{"Retry-After": {"90"}}}, temporary: true, status: 429, presented: 1, retryAfter: 90 * time.Second},
	{name: "500", fault: answerFault(500, ""), temporary: true, status: 500, presented: 2},
	{name: "502 HTML", fault: answerFault(502, proxyHTML), temporary: true, status: 502, presented: 2},
	{name: "503", fault: &tokentest.Fault{Status: 503, Header: http.Header{"Retry-After": {"120"}}}, temporary: true, status: 503, presented: 1, retryAfter: 2 * time.Minute},
	{name: "503 invalid_grant", fault: answerFault(503, `{"error":"invalid_grant"}`), temporary: true, status: 503, presented: 2},
	{name: "200 not JSON", fault: answerFault(200, "welcome"), temporary: true, status: 200, presented: 1},
	{name: "200 HTML", fault: answerFault(200, proxyHTML), temporary: true, status: 200, presented: 1},
	{name: "200 empty", fault: answerFault(200, ""), temporary: true, status: 200, presented: 1},
	{name: "200 empty token", fault: answerFault(200, `{"access_token":"","refresh_token":"r"}`), temporary: true, status: 200, presented: 1},
	{name: "200 truncated", fault: answerFault(200, `{"access_token":"a","refresh_token":"b`), temporary: true, status: 200, presented: 1},
	{name: "200 line break in token", fault: answerFault(200, `{"access_token":"a\nb","refresh_token":"b"}`), temporary: true, status: 200, presented: 1},
	{name: "10 MiB", fault: answerFault(200, `{"access_token":"`+strings.Repeat("x", 10<<20)+`"}`), temporary: true, status: 200, presented: 1},
	{name: "400 invalid_grant", fault: answerFault(400, `{"error":"invalid_grant"}`), terminal: true, status: 400, presented: 1},
	{name: "400 invalid_client", fault: answerFault(400, `{"error":"invalid_client"}`), status: 400, presented: 1},
	{name: "400 empty", fault: answerFault(400, ""), status: 400, presented: 1},
	{name: "400 temporarily_unavailable", fault: answerFault(400, `{"error":"temporarily_unavailable"}`), status: 400, presented: 1},
	{name: "401 invalid_client", fault: answerFault(401, `{"error":"invalid_client"}`), status: 401, presented: 1},
	{name: "401 without code", fault: answerFault(401, ""), status: 401, presented: 1},
	{name: "401 without code, JSON endpoint", json: true, fault: answerFault(401, ""), terminal: true, status: 401, presented: 1},
	{name: "401 invalid_client, JSON endpoint", json: true, fault: answerFault(401, `{"error":"invalid_client"}`), status: 401, presented: 1},
	{name: "401 HTML, JSON endpoint", json: true, fault: answerFault(401, proxyHTML), status: 401, presented: 1},
	{name: "400 invalid_grant, JSON endpoint", json: true, fault: answerFault(400, `{"error":"invalid_grant"}`), terminal: true, status: 400, presented: 1},
	{name: "403", fault: answerFault(403, "forbidden"), status: 403, presented: 1},
	{name: "403 HTML, JSON endpoint", json: true, fault: answerFault(403, proxyHTML), status: 403, presented: 1},
	{name: "404", fault: answerFault(404, ""), status: 404, presented: 1},
	{name: "307", fault: &tokentest.Fault{Status: 307, Header: http.Header{"Location": {"http://other.example.com/token"}}}, status: 307, presented: 1},
}

// failureMoment is when the endpoint fails, and what a request gets then if the
// failure is not terminal.
type failureMoment struct {
	name    string
	prepare func(*sessiontest.Rig)
	served  bool // the old token does
	after   bool // a terminal failure shows with the request after this one
}

var failureMoments = []failureMoment{
	{"access token valid", func(*sessiontest.Rig) { time.Sleep(14 * time.Minute) }, true, true},
	{"hard window", func(*sessiontest.Rig) { time.Sleep(15*time.Minute - 8*time.Second) }, true, false},
	{"expired", func(*sessiontest.Rig) { time.Sleep(16 * time.Minute) }, false, false},
	{"rejected", func(r *sessiontest.Rig) { r.Server.RevokeAccess("alice") }, false, false},
}

const failureTimeout = 5 * time.Second

// endpointNetwork is the way of the Refresher to its server.
type endpointNetwork struct {
	base http.RoundTripper
	fail atomic.Pointer[endpointFailure] // nil: all is well

	presented atomic.Int32 // requests that were sent
}

func (n *endpointNetwork) RoundTrip(req *http.Request) (*http.Response, error) {
	f := n.fail.Load()
	if f != nil && f.unset {
		_ = req.Body.Close()
		return nil, f.err
	}
	n.presented.Add(1)
	if f != nil && f.err != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
		return nil, f.err
	}
	return n.base.RoundTrip(req)
}

func newFailureRig(t *testing.T, f *endpointFailure) (*sessiontest.Rig, *endpointNetwork) {
	n := new(endpointNetwork)
	r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
		n.base = srv.Client().Transport
		c.RefreshTimeout = failureTimeout
		oauth, json := srv.OAuth2Refresher(), srv.JSONRefresher()
		oauth.HTTPClient = &http.Client{Transport: n}
		json.HTTPClient = oauth.HTTPClient
		c.Refresher = oauth
		if f.json {
			c.Refresher = json
		}
	})
	return r, n
}

// set has the endpoint fail from now on, or work again.
func (n *endpointNetwork) set(r *sessiontest.Rig, f *endpointFailure) {
	n.fail.Store(f)
	late := f != nil && f.late
	r.Server.Set(func(o *tokentest.Options) {
		if o.Latency = 0; late {
			o.Latency = time.Hour
		}
	})
	r.Server.FailRefresh(0, tokentest.Fault{})
	if f != nil && f.fault != nil {
		r.Server.FailRefresh(-1, *f.fault)
	}
}

// TestEndpointFails has the token endpoint fail in every way at every moment. The tokens
// are given up for a terminal answer and nothing else.
func TestEndpointFails(t *testing.T) {
	for _, f := range endpointFailures {
		for _, m := range failureMoments {
			sessiontest.Bubble(t, f.name+"/"+m.name, func(t *testing.T) { testEndpointFails(t, &f, m) })
		}
	}
}

func testEndpointFails(t *testing.T, f *endpointFailure, m failureMoment) {
	r, network := newFailureRig(t, f)
	old := r.Login(t)
	r.WantGet(t, 200)
	m.prepare(r)
	network.set(r, f)

	status, err := r.Get(t.Context())
	switch {
	case m.served && (m.after || !f.terminal):
		if err != nil || status != 200 {
			t.Fatalf("status %d, error %v; want the old token's answer", status, err)
		}
	default:
		f.wantError(t, err)
	}
	time.Sleep(2 * failureTimeout) // a refresh in the background ends
	if n := network.presented.Load(); n != f.presented {
		t.Errorf("the refresh token was presented %d times, want %d", n, f.presented)
	}
	if f.terminal {
		for range 3 {
			_, err := r.Get(t.Context())
			f.wantError(t, err)
		}
		if n := network.presented.Load(); n != 1 {
			t.Errorf("a dead refresh token was presented %d times", n)
		}
	} else if now, err := r.Session.Peek(t.Context()); err != nil || now.RefreshToken != old.RefreshToken || now.AccessToken != old.AccessToken {
		t.Errorf("token %v, error %v; want it kept", now, err)
	}

	network.set(r, nil)
	time.Sleep(15 * time.Minute) // longer than any wait
	if f.terminal {
		_, err := r.Get(t.Context())
		f.wantError(t, err)
		r.Login(t)
	}
	r.WantGet(t, 200)
	if c := r.Server.Counters(); c.Reuses != 0 {
		t.Errorf("%d reuses of a spent token", c.Reuses)
	}
}

// wantError checks what a request gets that needs the refresh that failed.
func (f *endpointFailure) wantError(t *testing.T, err error) {
	t.Helper()
	var te *tokenclient.TokenError
	var ue *url.Error
	if !errors.As(err, &te) || !errors.As(err, &ue) {
		t.Fatalf("error %v, want a *TokenError in a *url.Error", err)
	}
	if errors.Is(err, tokenclient.ErrLoginRequired) != f.terminal {
		t.Errorf("error %v: ErrLoginRequired is %v", err, !f.terminal)
	}
	if te.Temporary() != f.temporary || ue.Temporary() != f.temporary {
		t.Errorf("error %v: Temporary is %v and %v through net/url, want %v", err, te.Temporary(), ue.Temporary(), f.temporary)
	}
	if te.Timeout() != f.timeout || ue.Timeout() != f.timeout || errors.Is(err, context.DeadlineExceeded) != f.timeout {
		t.Errorf("error %v: Timeout is %v and %v through net/url, want %v", err, te.Timeout(), ue.Timeout(), f.timeout)
	}
	if te.StatusCode != f.status || te.RetryAfter != f.retryAfter {
		t.Errorf("error %v: status %d, Retry-After %v; want %d, %v", err, te.StatusCode, te.RetryAfter, f.status, f.retryAfter)
	}
	if f.err != nil && !errors.Is(err, f.err) {
		t.Errorf("error %v does not say what the network said", err)
	}
}
