package tokenclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const contractURL = "https://api.example.com/things?q=1"

// contractBody counts how often it is closed, as the body of a request or of an
// answer.
type contractBody struct {
	io.Reader
	closed atomic.Int32
}

func newContractBody(text string) *contractBody {
	return &contractBody{Reader: strings.NewReader(text)}
}

func (b *contractBody) Close() error {
	b.closed.Add(1)
	return nil
}

// contractAnswer is what contractBase does with one request. Status 0: err.
type contractAnswer struct {
	status    int
	challenge string
	err       error
	before    func() // is called first
}

// contractSent is a request as contractBase got it.
type contractSent struct {
	req  *http.Request
	auth []string
	body string
}

// contractBase is a transport that keeps the contract and has no network: it
// reads and closes the body of each request, and counts what becomes of the
// bodies of its answers. When answers are used up the last one repeats.
type contractBase struct {
	answers []contractAnswer

	mu     sync.Mutex // guards the rest
	sent   []contractSent
	bodies []*contractBody
	idle   int // calls of CloseIdleConnections
}

func (b *contractBase) RoundTrip(req *http.Request) (*http.Response, error) {
	s := contractSent{req: req, auth: req.Header["Authorization"]}
	if req.Body != nil {
		text, err := io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
		s.body = string(text)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, s)
	a := b.answers[min(len(b.sent), len(b.answers))-1]
	if a.before != nil {
		a.before()
	}
	if a.status == 0 {
		return nil, a.err
	}
	body := newContractBody(fmt.Sprintf("answer %d", len(b.sent)))
	b.bodies = append(b.bodies, body)
	resp := &http.Response{StatusCode: a.status, Header: http.Header{}, Body: body, Request: req}
	if a.challenge != "" {
		resp.Header.Set("WWW-Authenticate", a.challenge)
	}
	return resp, nil
}

func (b *contractBase) CloseIdleConnections() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle++
}

// contractAccess is the access token of the n-th refresh, 0 that of the login.
func contractAccess(n int) string { return fmt.Sprintf("access-%d", n) }

// contractRefresher issues contractAccess(1), contractAccess(2) and so on.
func contractRefresher() tokenclient.Refresher {
	var n atomic.Int32
	return tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		i := int(n.Add(1))
		return &tokenclient.Token{AccessToken: contractAccess(i), RefreshToken: fmt.Sprintf("refresh-%d", i)}, nil
	})
}

// contractSession is a session that is logged in to contractURL's origin and
// needs no server.
func contractSession(t testing.TB, change func(*tokenclient.Config)) *tokenclient.Session {
	t.Helper()
	c := tokenclient.Config{Refresher: contractRefresher(), Origins: []string{"https://api.example.com"}}
	if change != nil {
		change(&c)
	}
	s, err := tokenclient.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: contractAccess(0), RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// contractRequest is a request of a caller, with everything in it that the caller
// must find again afterwards.
type contractRequest struct {
	*http.Request
	body  *contractBody // nil: none that counts
	mu    sync.Mutex
	again []*contractBody // from GetBody

	before http.Request
	header http.Header
}

// contractBodies are the kinds of bodies that a request may have.
var contractBodies = []string{"no body", "NoBody", "GetBody", "stream"}

const contractPayload = "the payload of a request"

func newContractRequest(t *testing.T, ctx context.Context, url, body string, header http.Header) *contractRequest {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &contractRequest{Request: req}
	req.Header = http.Header{"X-Twice": {"one", "two"}, "Accept": {"text/plain"}}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Trailer = http.Header{"X-Sum": {"42"}}
	switch body {
	case "NoBody":
		req.Body = http.NoBody
	case "GetBody", "stream":
		c.body = newContractBody(contractPayload)
		req.Body, req.ContentLength = c.body, int64(len(contractPayload))
	}
	if body == "GetBody" {
		req.GetBody = func() (io.ReadCloser, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			b := newContractBody(contractPayload)
			c.again = append(c.again, b)
			return b, nil
		}
	}
	c.before, c.header = *req, req.Header.Clone()
	return c
}

// wantUnchanged fails if anything of the request is not what it was.
func (c *contractRequest) wantUnchanged(t *testing.T) {
	t.Helper()
	was, is := reflect.ValueOf(c.before), reflect.ValueOf(*c.Request)
	for i := range was.NumField() {
		name := was.Type().Field(i).Name
		a, b := was.Field(i), is.Field(i)
		same := false
		switch a.Kind() {
		case reflect.Func, reflect.Map, reflect.Pointer, reflect.Slice, reflect.Chan:
			same = a.Pointer() == b.Pointer()
		case reflect.Interface: // Body and the context: pointers, or zero-size values
			same = a.IsNil() == b.IsNil() && (a.IsNil() || a.Elem().Type() == b.Elem().Type() &&
				(a.Elem().Kind() != reflect.Pointer || a.Elem().Pointer() == b.Elem().Pointer()))
		default:
			same = a.Equal(b)
		}
		if !same {
			t.Errorf("Request.%s changed", name)
		}
	}
	if !reflect.DeepEqual(c.Header, c.header) {
		t.Errorf("Request.Header is %v, was %v", c.Header, c.header)
	}
}

// wantClosed fails unless all bodies of the request are closed, and the one that
// cannot be had again exactly once.
func (c *contractRequest) wantClosed(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body == nil {
		return
	}
	if n := c.body.closed.Load(); n == 0 || n != 1 && c.GetBody == nil {
		t.Errorf("the request's body was closed %d times", n)
	}
	for i, b := range c.again {
		if b.closed.Load() == 0 {
			t.Errorf("body %d of GetBody was not closed", i+1)
		}
	}
}
