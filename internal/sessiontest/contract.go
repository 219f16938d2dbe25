package sessiontest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Body counts how often it is closed, as the body of a request or of an answer.
type Body struct {
	io.Reader
	Closed atomic.Int32
}

// NewBody has text to read.
func NewBody(text string) *Body { return &Body{Reader: strings.NewReader(text)} }

// Close implements io.Closer.
func (b *Body) Close() error {
	b.Closed.Add(1)
	return nil
}

// Answer is what a Base does with one request.
type Answer struct {
	Status    int // 0: Err
	Challenge string
	Err       error
}

// Sent is a request as a Base got it.
type Sent struct {
	Request *http.Request
	Auth    []string
	Body    string
}

// Base is a transport that keeps the contract and has no network: it reads and closes
// the body of each request, and counts what becomes of the bodies of its answers. When
// Answers are used up the last one repeats.
type Base struct {
	Answers []Answer

	mu     sync.Mutex // guards the rest while requests are sent
	Sent   []Sent
	Bodies []*Body
	Idle   int // calls of CloseIdleConnections
}

// NewBase answers with each status in turn.
func NewBase(status ...int) *Base {
	b := new(Base)
	for _, s := range status {
		b.Answers = append(b.Answers, Answer{Status: s})
	}
	return b
}

// RoundTrip implements http.RoundTripper.
func (b *Base) RoundTrip(req *http.Request) (*http.Response, error) {
	s := Sent{Request: req, Auth: req.Header["Authorization"]}
	if req.Body != nil {
		text, err := io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
		s.Body = string(text)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Sent = append(b.Sent, s)
	a := b.Answers[min(len(b.Sent), len(b.Answers))-1]
	if a.Status == 0 {
		return nil, a.Err
	}
	body := NewBody(fmt.Sprintf("answer %d", len(b.Sent)))
	b.Bodies = append(b.Bodies, body)
	resp := &http.Response{StatusCode: a.Status, Header: http.Header{}, Body: body, Request: req}
	if a.Challenge != "" {
		resp.Header.Set("WWW-Authenticate", a.Challenge)
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client calls.
func (b *Base) CloseIdleConnections() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Idle++
}

// Request is a request of a caller, with everything in it that the caller must find
// again afterwards.
type Request struct {
	*http.Request
	Counted *Body // nil: no body that counts

	mu     sync.Mutex
	again  []*Body // from GetBody
	before http.Request
	header http.Header
}

// BodyKinds are the kinds of bodies that a Request may have.
var BodyKinds = []string{"no body", "NoBody", "GetBody", "stream"}

// Payload is what those have to read that have something.
const Payload = "the payload of a request"

// NewRequest makes a POST with a body of one of BodyKinds, and header beside its own.
func NewRequest(t *testing.T, ctx context.Context, url, body string, header http.Header) *Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Request{Request: req}
	req.Header = http.Header{"X-Twice": {"one", "two"}, "Accept": {"text/plain"}}
	maps.Copy(req.Header, header)
	req.Trailer = http.Header{"X-Sum": {"42"}}
	switch body {
	case "NoBody":
		req.Body = http.NoBody
	case "GetBody", "stream":
		c.Counted = NewBody(Payload)
		req.Body, req.ContentLength = c.Counted, int64(len(Payload))
	}
	if body == "GetBody" {
		req.GetBody = func() (io.ReadCloser, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			b := NewBody(Payload)
			c.again = append(c.again, b)
			return b, nil
		}
	}
	c.before, c.header = *req, req.Header.Clone()
	return c
}

// WantUnchanged fails if anything of the request is not what it was.
func (c *Request) WantUnchanged(t testing.TB) {
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

// WantClosed fails unless all bodies of the request are closed, and the one that
// cannot be had again exactly once.
func (c *Request) WantClosed(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Counted == nil {
		return
	}
	if n := c.Counted.Closed.Load(); n == 0 || n != 1 && c.GetBody == nil {
		t.Errorf("the request's body was closed %d times", n)
	}
	for i, b := range c.again {
		if b.Closed.Load() == 0 {
			t.Errorf("body %d of GetBody was not closed", i+1)
		}
	}
}
