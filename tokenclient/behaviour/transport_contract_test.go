package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var errContract = errors.New("the network is down")

// contractPath is a way that a request can take through a Transport.
type contractPath struct {
	name    string
	url     string // "": contractURL
	header  http.Header
	prepare func(t *testing.T, p *contractRun)
	answers []sessiontest.Answer

	sends  int   // requests that Base gets
	tries  int   // and more, if there is no body or it has a GetBody
	bare   bool  // the caller's own request goes to Base
	status int   // of the answer; 0: an error
	err    error // what the error is; nil: any
}

// contractRun is what a contractPath may prepare.
type contractRun struct {
	ctx       context.Context
	cancel    context.CancelFunc
	config    tokenclient.Config
	transport *tokenclient.Transport
	session   func(*tokenclient.Session) // is called after the login
}

const contractScope = `Bearer error="insufficient_scope"`

func contractConfig(change func(*tokenclient.Config)) func(*testing.T, *contractRun) {
	return func(_ *testing.T, r *contractRun) { change(&r.config) }
}

var contractPaths = []contractPath{
	{name: "other origin", url: "https://other.example.com/", answers: []sessiontest.Answer{{Status: 401}}, sends: 1, bare: true, status: 401},
	{name: "header set by the caller", header: http.Header{"Authorization": {"Basic eDp5"}},
		answers: []sessiontest.Answer{{Status: 401}}, sends: 1, bare: true, status: 401},
	{name: "WithoutToken", prepare: func(_ *testing.T, r *contractRun) { r.ctx = tokenclient.WithoutToken(r.ctx) },
		answers: []sessiontest.Answer{{Status: 401}}, sends: 1, bare: true, status: 401},
	{name: "untouched, base error", url: "https://other.example.com/", answers: []sessiontest.Answer{{Err: errContract}}, sends: 1, bare: true, err: errContract},
	{name: "error before any dial", url: "http://api.example.com/", prepare: contractConfig(func(c *tokenclient.Config) {
		c.Origins, c.AnyOrigin = nil, true
	})},
	{name: "login required", prepare: func(_ *testing.T, r *contractRun) {
		r.session = func(s *tokenclient.Session) { _ = s.Logout(context.Background()) }
	}, err: tokenclient.ErrLoginRequired},
	{name: "closed", prepare: func(_ *testing.T, r *contractRun) {
		r.session = func(s *tokenclient.Session) { _ = s.Close(context.Background()) }
	}, err: tokenclient.ErrClosed},
	{name: "nil Session", prepare: func(_ *testing.T, r *contractRun) { r.transport.Session = nil }},
	{name: "Attacher fails", prepare: contractConfig(func(c *tokenclient.Config) {
		c.Attacher = sessiontest.AttacherFunc(func(*http.Request, *tokenclient.Token) error { return errContract })
	}), err: errContract},
	{name: "Attacher fails on the replay", prepare: contractConfig(func(c *tokenclient.Config) {
		c.Attacher = sessiontest.AttacherFunc(func(_ *http.Request, t *tokenclient.Token) error {
			if t.AccessToken == sessiontest.Access(1) {
				return errContract
			}
			return nil
		})
	}), answers: []sessiontest.Answer{{Status: 401}}, sends: 1, err: errContract},
	{name: "ok", answers: []sessiontest.Answer{{Status: 200}}, sends: 1, status: 200},
	{name: "403", answers: []sessiontest.Answer{{Status: 403}}, sends: 1, status: 403},
	{name: "base error", answers: []sessiontest.Answer{{Err: errContract}}, sends: 1, err: errContract},
	{name: "neither answer nor error", answers: []sessiontest.Answer{{}}, sends: 1},
	{name: "neither answer nor error, untouched", url: "https://other.example.com/", answers: []sessiontest.Answer{{}}, sends: 1, bare: true},
	{name: "neither answer nor error, to the replay", answers: []sessiontest.Answer{{Status: 401}, {}}, sends: 2},
	{name: "step-up", answers: []sessiontest.Answer{{Status: 401, Challenge: contractScope}}, sends: 1, status: 401},
	{name: "NoReplay", prepare: func(_ *testing.T, r *contractRun) {
		r.transport.NoReplay = func(*http.Request) bool { return true }
	}, answers: []sessiontest.Answer{{Status: 401}}, sends: 1, status: 401},
	{name: "storm guard", prepare: func(t *testing.T, r *contractRun) {
		r.session = func(s *tokenclient.Session) { exhaustStorm(t, s) }
	}, answers: []sessiontest.Answer{{Status: 401}}, sends: 1, status: 401},
	{name: "replay", answers: []sessiontest.Answer{{Status: 401}, {Status: 200}}, sends: 2, status: 200},
	{name: "replay refused", answers: []sessiontest.Answer{{Status: 401}, {Status: 401}}, sends: 2, tries: 4, status: 401},
	{name: "replay, base error", answers: []sessiontest.Answer{{Status: 401}, {Err: errContract}}, sends: 2, err: errContract},
	{name: "refresh fails", prepare: contractConfig(func(c *tokenclient.Config) {
		c.Refresher = tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, errContract
		})
	}), answers: []sessiontest.Answer{{Status: 401}}, sends: 1, err: errContract},
	{name: "refresh token refused", prepare: contractConfig(func(c *tokenclient.Config) {
		c.Refresher = tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, tokenclient.ErrLoginRequired
		})
	}), answers: []sessiontest.Answer{{Status: 401}}, sends: 1, err: tokenclient.ErrLoginRequired},
	{name: "context ends while waiting", prepare: func(_ *testing.T, r *contractRun) {
		r.config.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
			r.cancel()
			<-ctx.Done() // Close of the session does not end it: the timeout does
			return nil, ctx.Err()
		})
		r.config.RefreshTimeout = time.Millisecond
	}, answers: []sessiontest.Answer{{Status: 401}}, sends: 1},
	{name: "context has ended", prepare: func(_ *testing.T, r *contractRun) {
		r.session = func(*tokenclient.Session) { r.cancel() }
	}, answers: []sessiontest.Answer{{Err: context.Canceled}}, sends: 1, err: context.Canceled},
}

// exhaustStorm has the server refuse tokens until the storm guard says no.
func exhaustStorm(t *testing.T, s *tokenclient.Session) {
	base := sessiontest.NewBase(401)
	for range 10 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, sessiontest.URL, nil)
		resp, err := s.Transport(base).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	// Three times a replay and four tries of a new token; the others are sent once.
	if n := len(base.Sent); n != 10+3*(1+4) {
		t.Fatalf("%d requests: the storm guard did not say no", n)
	}
}

// TestRoundTripperContract walks every path of a Transport with every kind of
// body and checks what net/http promises of a RoundTripper: the request is not
// changed, its body is always closed, no answer is left open, and the answer's
// Request is the caller's.
func TestRoundTripperContract(t *testing.T) {
	for _, p := range contractPaths {
		for _, body := range sessiontest.BodyKinds {
			sessiontest.Bubble(t, p.name+"/"+body, func(t *testing.T) { p.run(t, body) })
		}
	}
}

func (p contractPath) run(t *testing.T, body string) {
	base := &sessiontest.Base{Answers: p.answers}
	r := &contractRun{transport: &tokenclient.Transport{Base: base}}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	defer r.cancel()
	r.config = tokenclient.Config{Refresher: sessiontest.Refresher(), Origins: []string{"https://api.example.com"}}
	unset := new(tokenclient.Session)
	r.transport.Session = unset
	if p.prepare != nil {
		p.prepare(t, r)
	}
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { *c = r.config })
	if r.transport.Session == unset {
		r.transport.Session = s
	}
	if r.session != nil {
		r.session(s)
	}
	url := p.url
	if url == "" {
		url = sessiontest.URL
	}
	req := sessiontest.NewRequest(t, r.ctx, url, body, p.header)
	resp, err := r.transport.RoundTrip(req.Request)
	req.WantUnchanged(t)
	req.WantClosed(t)
	p.check(t, req, resp, err)
	sends := p.sends
	if req.Counted == nil || req.GetBody != nil {
		sends += p.tries
	}
	checkBase(t, base, req, resp, sends, p.bare)
	req.WantUnchanged(t) // nor by reading the answer
	req.WantClosed(t)
}

// check looks at what the caller got.
func (p contractPath) check(t *testing.T, req *sessiontest.Request, resp *http.Response, err error) {
	t.Helper()
	switch {
	case p.status == 0:
		if err == nil || resp != nil {
			t.Fatalf("response %v, error %v; want an error alone", resp, err)
		}
		if p.err != nil && !errors.Is(err, p.err) {
			t.Errorf("error %v, want %v", err, p.err)
		}
	case err != nil || resp == nil:
		t.Fatalf("error %v, want status %d", err, p.status)
	case resp.StatusCode != p.status:
		t.Errorf("status %d, want %d", resp.StatusCode, p.status)
	case resp.Request != req.Request:
		t.Error("the answer's Request is not the caller's, so it may show the token")
	}
}

// checkBase looks at what b got and what became of its answers. last is the one that
// the caller got, which it reads and closes.
func checkBase(t *testing.T, b *sessiontest.Base, req *sessiontest.Request, last *http.Response, sends int, bare bool) {
	t.Helper()
	if len(b.Sent) != sends {
		t.Errorf("Base got %d requests, want %d", len(b.Sent), sends)
	}
	for i, s := range b.Sent {
		if want := req.Counted != nil; want && s.Body != sessiontest.Payload || !want && s.Body != "" {
			t.Errorf("request %d has body %q", i+1, s.Body)
		}
		if shared := reflect.ValueOf(s.Request.Header).Pointer() == reflect.ValueOf(req.Header).Pointer(); shared != bare {
			t.Errorf("request %d: header map shared: %v", i+1, shared)
		}
		if s.Request.ContentLength != req.ContentLength || !reflect.DeepEqual(s.Request.Trailer, req.Trailer) {
			t.Errorf("request %d: length %d, trailer %v", i+1, s.Request.ContentLength, s.Request.Trailer)
		}
	}
	for i, body := range b.Bodies {
		handedOver := last != nil && i == len(b.Bodies)-1
		switch n := body.Closed.Load(); {
		case handedOver && n != 0:
			t.Errorf("answer %d was handed over closed", i+1)
		case handedOver:
			if text, err := io.ReadAll(last.Body); err != nil || string(text) != fmt.Sprintf("answer %d", i+1) {
				t.Errorf("answer %d was handed over as %q, %v", i+1, text, err)
			}
			_ = last.Body.Close()
		case n == 0:
			t.Errorf("answer %d is neither handed over nor closed", i+1)
		}
	}
}
