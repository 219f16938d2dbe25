package replay

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// expectation is what a source needs if its request asks the server for "100
// Continue" before the body is sent.
//
// A server that refuses the token at once has not had a byte of the body then, and
// the body could be sent again without a copy of it. But over a connection that is
// kept net/http goes on to send the body after the refusal, a hundred times out of
// a hundred, and mostly while RoundTrip returns. So from the first byte of an
// answer on Reads wait until it is known what the answer is: "100 Continue", or
// another, with which the base transport returns and the body's next owner is
// decided.
//
// A Read that waits can hang the base transport: over HTTP/1.1 it does not return
// before its Read has, not even when its context has ended or its connection has
// broken. So a Read waits no longer than the request's context lasts, and not
// beyond the moment at which the base transport sends the body unasked, or
// answerTime.
//
// Because of that nothing here needs httptrace's Got1xxResponse, although "103
// Early Hints" may come and "100 Continue" never: until then nobody reads. A
// transport without that hook limits how much a server may send in such answers;
// with it, that would be left to us.
type expectation struct {
	ctx     context.Context // the request's
	timeout time.Duration   // the base transport's, for "100 Continue"

	mu    sync.Mutex    // guards the rest; not held while a Read waits
	since time.Time     // when the base transport began to wait for "100 Continue"
	first time.Time     // when the answer began
	wake  chan struct{} // Reads wait until it is closed; nil: they do not wait
	over  bool          // Reads never wait again
}

// answerTime is how long Reads wait for the rest of an answer at least. net/http
// itself takes 50 ms before it returns one without a body.
const answerTime = 100 * time.Millisecond

// newExpectation returns nil unless req is to ask for "100 Continue": if that is wanted, and
// if the base transport waits for it.
func newExpectation(req *http.Request, o Options) *expectation {
	if o.ExpectTimeout <= 0 {
		return nil
	}
	longer := func(n int64) bool { return req.ContentLength <= 0 || req.ContentLength > n } // 0 is unknown, as there is a body
	if !(o.ExpectUnkept && req.GetBody == nil && longer(o.Limit)) && !(o.ExpectAbove != 0 && longer(o.ExpectAbove)) {
		return nil
	}
	for name := range req.Header {
		if strings.EqualFold(name, "Expect") {
			return nil
		}
	}
	return &expectation{ctx: req.Context(), timeout: o.ExpectTimeout, since: time.Now()}
}

// trace returns the request's context with the hooks that tell e what the base
// transport does. Those of the caller, if there are any, are called too.
func (e *expectation) trace() context.Context {
	return httptrace.WithClientTrace(e.ctx, &httptrace.ClientTrace{
		Wait100Continue:      e.begin,
		GotFirstResponseByte: e.hold,
		Got100Continue:       e.release,
	})
}

// ask puts the question on r, which is ours.
func (e *expectation) ask(r *http.Request) {
	r.Header["Expect"] = []string{"100-continue"}
	if !r.ProtoAtLeast(1, 1) {
		// The caller made its request without http.NewRequest, and net/http would
		// ask but not wait for the answer.
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	}
}

// begin is called when the base transport begins to wait, on the goroutine that
// reads the body afterwards. The answer may have begun already.
func (e *expectation) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since = time.Now()
}

// hold is called when an answer begins, before the base transport has read it.
func (e *expectation) hold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over && e.wake == nil {
		e.first = time.Now()
		e.wake = make(chan struct{})
	}
}

// release is called when the server wants the body.
func (e *expectation) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.releaseLocked()
}

func (e *expectation) releaseLocked() {
	if e.wake != nil {
		close(e.wake)
		e.wake = nil
	}
}

// end is called when it is decided who has the body. e may be nil.
func (e *expectation) end() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.releaseLocked()
}

// wait holds a Read back. e may be nil.
func (e *expectation) wait() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	wake := e.wake
	left := max(time.Until(e.since.Add(e.timeout)), time.Until(e.first.Add(answerTime)))
	e.mu.Unlock()
	if wake == nil || left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-e.ctx.Done():
		// net/http may return this as the error of the request; it is the one that
		// it has for a context that ended.
		return context.Cause(e.ctx)
	}
	return nil
}
