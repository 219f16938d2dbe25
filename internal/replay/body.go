package replay

import (
	"context"
	"io"
	"net/http"
	"time"
)

// A Body is the body of one request, before one sending of it. The zero value is that of
// a request without one.
type Body struct {
	req    *http.Request // the caller's, which is never changed
	source *source       // nil: there is nothing to guard
	body   io.ReadCloser // of a later sending; nil: it is the first
}

// Options say how a body can be sent again.
type Options struct {
	// Limit is how many bytes are kept in memory of a body that has no GetBody.
	Limit int64

	// SpoolDir is where those of a body that cannot seek are kept in a file when there
	// are more, up to MaxSpool. "": nowhere.
	SpoolDir string
	MaxSpool int64

	// ExpectTimeout is how long the base transport waits for "100 Continue" before it
	// sends the body unasked. 0: the server is not asked.
	ExpectTimeout time.Duration

	// ExpectUnkept has it asked about bodies without GetBody that may be longer than Limit.
	ExpectUnkept bool

	// ExpectAbove has it asked about all bodies that may be longer. 0: about none,
	// negative: about each.
	ExpectAbove int64

	// Often has TakeBack work more than once, whatever the body is. HandOver has to follow
	// the last sending then.
	Often bool
}

// New prepares the body of req for the first sending, which Attach begins.
func New(req *http.Request, o Options) Body {
	if req.Body == nil || req.Body == http.NoBody {
		return Body{}
	}
	e := newExpectation(req, o)
	if e == nil && isStandard(req.GetBody) {
		return Body{req: req}
	}
	return Body{req: req, source: newSource(req, o, e)}
}

// Certain reports whether the body of req can be sent again however much of it was read.
func Certain(req *http.Request, o Options) bool {
	switch {
	case req.Body == nil, req.Body == http.NoBody, req.GetBody != nil:
		return true
	}
	return req.ContentLength > 0 && req.ContentLength <= o.Limit
}

// Context returns ctx, that of the request, with what b has to learn of this sending.
func (b Body) Context(ctx context.Context) context.Context {
	if e := b.expectation(); e != nil {
		return e.trace()
	}
	return ctx
}

// Attach puts b on r, a copy of the request with a header map of its own.
func (b Body) Attach(r *http.Request) {
	switch {
	case b.body != nil:
		r.Body = b.body
	case b.source != nil:
		r.Body = &b.source.first
	}
	if b.source != nil && b.req.GetBody != nil {
		r.GetBody = r.Body.(*sending).repeat
	}
	if e := b.expectation(); e != nil {
		e.ask(r)
	}
}

// HandOver leaves the body to its last sending for good: there will be no other one.
func (b Body) HandOver() {
	if b.source != nil {
		b.source.handOver()
	}
}

// TakeBack ends the first sending and returns the body of the second one, the same to the
// byte. It returns false if there cannot be one; HandOver follows then. After it has
// returned true, the body is closed by the second sending or by Close; with Options.Often
// not before HandOver, as there may be a third one.
//
// The next Read of the first sending fails, upon which net/http closes an HTTP/1.1
// connection, and that may cut the answer that is still being read from it. So whether
// there will be a second sending is found out first, as far as that is possible, and the
// body taken in the same step: if TakeBack returns false no Read has failed, unless a
// GetBody has, and the answer that the caller gets is whole. If it returns true nobody
// wants that answer any more, so nothing is won by reading it beforehand, but much is
// lost: net/http waits 50 ms for the first sending at the end of an answer.
func (b Body) TakeBack(ctx context.Context) (again Body, ok bool) {
	var body io.ReadCloser
	switch {
	case b.source != nil:
		body, ok = b.source.takeBack(ctx)
	case b.req != nil:
		got, err := b.req.GetBody()
		body, ok = got, err == nil
	default:
		ok = true
	}
	if !ok {
		return Body{}, false
	}
	return Body{b.req, b.source, body}, true
}

// Repeats reports whether TakeBack can be called on what TakeBack returned, and again, and
// mostly returns true. Of a body that needs care there are two sendings at most, but with
// Options.Often.
func (b Body) Repeats() bool { return b.source == nil || b.source.often }

// Busy reports whether a Read of the first sending is still at work after TakeBack. Over
// HTTP/2 the Close of the refused answer waits for it, and it may wait for what the
// second sending brings about.
func (b Body) Busy() bool { return b.source != nil && b.source.busy() }

// Close gives up a later sending before it has begun.
func (b Body) Close() {
	if b.source != nil && b.source.often {
		b.source.handOver()
	}
	if b.body != nil {
		_ = b.body.Close()
	}
}

func (b Body) expectation() *expectation {
	if b.source == nil || b.body != nil {
		return nil
	}
	return b.source.expect
}
