package tokenclient_test

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
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// Hard problem 8: a transient failure is treated as a logout, or a resource's 401
// destroys a good refresh token.

// hard08Failure is what the token endpoint does from some moment on.
type hard08Failure struct {
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

func hard08Fault(status int, body string) *tokentest.Fault {
	return &tokentest.Fault{Status: status, Body: body}
}

const hard08HTML = "<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>"

var hard08Failures = []hard08Failure{
	{name: "timeout", late: true, temporary: true, timeout: true, presented: 1},
	{name: "DNS", unset: true, err: &net.DNSError{Err: "no such host", Name: "auth.example.com", IsNotFound: true}, temporary: true},
	{name: "connection refused", unset: true, err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, temporary: true},
	{name: "connection reset", err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, temporary: true, presented: 2},
	{name: "connection cut", fault: &tokentest.Fault{Cut: true}, temporary: true, presented: 2},
	{name: "answer cut", fault: &tokentest.Fault{Status: 200, Cut: true, Body: `{"access_token":"x`, Header: http.Header{"Content-Length": {"1000"}}}, temporary: true, presented: 2},
	{name: "408", fault: hard08Fault(408, ""), temporary: true, status: 408, presented: 1},
	{name: "425", fault: hard08Fault(425, ""), temporary: true, status: 425, presented: 1},
	{name: "429", fault: &tokentest.Fault{Status: 429, Header: http.Header{"Retry-After": {"90"}}}, temporary: true, status: 429, presented: 1, retryAfter: 90 * time.Second},
	{name: "500", fault: hard08Fault(500, ""), temporary: true, status: 500, presented: 2},
	{name: "502 HTML", fault: hard08Fault(502, hard08HTML), temporary: true, status: 502, presented: 2},
	{name: "503", fault: &tokentest.Fault{Status: 503, Header: http.Header{"Retry-After": {"120"}}}, temporary: true, status: 503, presented: 1, retryAfter: 2 * time.Minute},
	{name: "503 invalid_grant", fault: hard08Fault(503, `{"error":"invalid_grant"}`), temporary: true, status: 503, presented: 2},
	{name: "200 not JSON", fault: hard08Fault(200, "welcome"), temporary: true, status: 200, presented: 2},
	{name: "200 HTML", fault: hard08Fault(200, hard08HTML), temporary: true, status: 200, presented: 2},
	{name: "200 empty", fault: hard08Fault(200, ""), temporary: true, status: 200, presented: 2},
	{name: "200 empty token", fault: hard08Fault(200, `{"access_token":"","refresh_token":"r"}`), temporary: true, status: 200, presented: 2},
	{name: "200 truncated", fault: hard08Fault(200, `{"access_token":"a","refresh_token":"b`), temporary: true, status: 200, presented: 2},
	{name: "200 line break in token", fault: hard08Fault(200, `{"access_token":"a\nb","refresh_token":"b"}`), temporary: true, status: 200, presented: 2},
	{name: "10 MiB", fault: hard08Fault(200, `{"access_token":"`+strings.Repeat("x", 10<<20)+`"}`), temporary: true, status: 200, presented: 2},
	{name: "400 invalid_grant", fault: hard08Fault(400, `{"error":"invalid_grant"}`), terminal: true, status: 400, presented: 1},
	{name: "400 invalid_client", fault: hard08Fault(400, `{"error":"invalid_client"}`), status: 400, presented: 1},
	{name: "400 empty", fault: hard08Fault(400, ""), status: 400, presented: 1},
	{name: "400 temporarily_unavailable", fault: hard08Fault(400, `{"error":"temporarily_unavailable"}`), status: 400, presented: 1},
	{name: "401 invalid_client", fault: hard08Fault(401, `{"error":"invalid_client"}`), status: 401, presented: 1},
	{name: "401 without code", fault: hard08Fault(401, ""), status: 401, presented: 1},
	{name: "401 without code, JSON endpoint", json: true, fault: hard08Fault(401, ""), terminal: true, status: 401, presented: 1},
	{name: "401 invalid_client, JSON endpoint", json: true, fault: hard08Fault(401, `{"error":"invalid_client"}`), status: 401, presented: 1},
	{name: "401 HTML, JSON endpoint", json: true, fault: hard08Fault(401, hard08HTML), status: 401, presented: 1},
	{name: "400 invalid_grant, JSON endpoint", json: true, fault: hard08Fault(400, `{"error":"invalid_grant"}`), terminal: true, status: 400, presented: 1},
	{name: "403", fault: hard08Fault(403, "forbidden"), status: 403, presented: 1},
	{name: "403 HTML, JSON endpoint", json: true, fault: hard08Fault(403, hard08HTML), status: 403, presented: 1},
	{name: "404", fault: hard08Fault(404, ""), status: 404, presented: 1},
	{name: "307", fault: &tokentest.Fault{Status: 307, Header: http.Header{"Location": {"http://other.example.com/token"}}}, status: 307, presented: 1},
}

// hard08Moment is when the endpoint fails, and what a request gets then if the
// failure is not terminal.
type hard08Moment struct {
	name    string
	prepare func(*rig)
	served  bool // the old token does
	after   bool // a terminal failure shows with the request after this one
}

var hard08Moments = []hard08Moment{
	{"access token valid", func(*rig) { time.Sleep(14 * time.Minute) }, true, true},
	{"hard window", func(*rig) { time.Sleep(15*time.Minute - 8*time.Second) }, true, false},
	{"expired", func(*rig) { time.Sleep(16 * time.Minute) }, false, false},
	{"rejected", func(r *rig) { r.srv.RevokeAccess("alice") }, false, false},
}

const hard08Timeout = 5 * time.Second

// hard08Network is the way of the Refresher to its server.
type hard08Network struct {
	base http.RoundTripper
	fail atomic.Pointer[hard08Failure] // nil: all is well

	presented atomic.Int32 // requests that were sent
}

func (n *hard08Network) RoundTrip(req *http.Request) (*http.Response, error) {
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

func newHard08Rig(t *testing.T, f *hard08Failure) (*rig, *hard08Network) {
	n := new(hard08Network)
	r := newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
		n.base = srv.Client().Transport
		c.RefreshTimeout = hard08Timeout
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
func (n *hard08Network) set(r *rig, f *hard08Failure) {
	n.fail.Store(f)
	late := f != nil && f.late
	r.srv.Set(func(o *tokentest.Options) {
		if o.Latency = 0; late {
			o.Latency = time.Hour
		}
	})
	r.srv.FailRefresh(0, tokentest.Fault{})
	if f != nil && f.fault != nil {
		r.srv.FailRefresh(-1, *f.fault)
	}
}

// TestHard08 has the token endpoint fail in every way at every moment. The tokens
// are given up for a terminal answer and nothing else.
func TestHard08(t *testing.T) {
	for _, f := range hard08Failures {
		for _, m := range hard08Moments {
			t.Run(f.name+"/"+m.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testHard08(t, &f, m) })
			})
		}
	}
}

func testHard08(t *testing.T, f *hard08Failure, m hard08Moment) {
	r, network := newHard08Rig(t, f)
	old := r.login(t)
	r.wantGet(t, 200)
	m.prepare(r)
	network.set(r, f)

	status, err := r.get(t.Context())
	switch {
	case m.served && (m.after || !f.terminal):
		if err != nil || status != 200 {
			t.Fatalf("status %d, error %v; want the old token's answer", status, err)
		}
	default:
		f.wantError(t, err)
	}
	time.Sleep(2 * hard08Timeout) // a refresh in the background ends
	if n := network.presented.Load(); n != f.presented {
		t.Errorf("the refresh token was presented %d times, want %d", n, f.presented)
	}
	if f.terminal {
		for range 3 {
			_, err := r.get(t.Context())
			f.wantError(t, err)
		}
		if n := network.presented.Load(); n != 1 {
			t.Errorf("a dead refresh token was presented %d times", n)
		}
	} else if now, err := r.session.Peek(t.Context()); err != nil || now.RefreshToken != old.RefreshToken || now.AccessToken != old.AccessToken {
		t.Errorf("token %v, error %v; want it kept", now, err)
	}

	network.set(r, nil)
	time.Sleep(15 * time.Minute) // longer than any wait
	if f.terminal {
		_, err := r.get(t.Context())
		f.wantError(t, err)
		r.login(t)
	}
	r.wantGet(t, 200)
	if c := r.srv.Counters(); c.Reuses != 0 {
		t.Errorf("%d reuses of a spent token", c.Reuses)
	}
}

// wantError checks what a request gets that needs the refresh that failed.
func (f *hard08Failure) wantError(t *testing.T, err error) {
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
