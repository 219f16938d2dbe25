package tokenclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// firstBody is the body of a request while it may have to be sent again. The zero
// value is that of a request without one.
type firstBody struct {
	req  *http.Request
	kept *keptBody // nil if req has a GetBody
}

// firstBody prepares the body of req for being sent the first time.
func (t *Transport) firstBody(req *http.Request) firstBody {
	if req.Body == nil || req.Body == http.NoBody {
		return firstBody{}
	}
	return t.someBody(req)
}

func (t *Transport) someBody(req *http.Request) firstBody {
	b := firstBody{req: req}
	if req.GetBody == nil {
		limit := t.MaxReplayBody
		if limit == 0 {
			limit = defaultMaxReplayBody
		}
		b.kept = &keptBody{body: req.Body, limit: limit, reading: make(chan struct{}, 1)}
		b.kept.expect = t.newExpectation(req, limit)
	}
	return b
}

// reader returns what to send.
func (b firstBody) reader() io.ReadCloser {
	switch {
	case b.kept != nil:
		return b.kept
	case b.req != nil:
		return b.req.Body
	}
	return nil
}

// expectation is nil unless the first sending asks for "100 Continue".
func (b firstBody) expectation() *expectation {
	if b.kept == nil {
		return nil
	}
	return b.kept.expect
}

// handOver gives the body to the base transport for good: there will be no
// second sending.
func (b firstBody) handOver() {
	if b.kept != nil {
		b.kept.handOver()
	}
}

// takeBack returns a body for the second sending, the same to the byte, unless
// there is none.
func (b firstBody) takeBack(ctx context.Context) (io.ReadCloser, bool) {
	switch {
	case b.kept != nil:
		return b.kept.takeBack(ctx)
	case b.req != nil:
		again, err := b.req.GetBody()
		return again, err == nil
	}
	return nil, true
}

// keptBody is a request's body on its first sending. It keeps a copy of what the
// base transport reads. The transport may still be reading when it has returned an
// answer, or even when that was closed, so a second sending needs the body taken
// away from it: every Read goes through a lock, and fails from then on.
//
// As long as the body may be sent again its Close does not reach the caller's
// body, which is then closed by the second sending; and whoever has closed it reads
// nothing more of it.
type keptBody struct {
	body   io.ReadCloser // the caller's
	limit  int64
	expect *expectation // nil: the server was not asked for "100 Continue"

	reading chan struct{} // holds one element during a Read; guards kept, over and readErr
	kept    []byte
	over    bool  // more was read than is kept
	readErr error // what the body ended with, if not io.EOF

	mu     sync.Mutex // guards owner and closed; not held while the body is used
	owner  bodyOwner
	closed bool // by the base transport
}

type bodyOwner int

const (
	undecided  bodyOwner = iota // the base transport reads, and a copy is kept
	handedOver                  // the base transport has it for good
	takenBack                   // the second sending has it
)

var errBodyTakenBack = errors.New("tokenclient: the request is sent again, and its first sending is over")

func (b *keptBody) Read(p []byte) (int, error) {
	// Not as a Read under way: nothing has been taken, and takeBack need not wait.
	if err := b.expect.wait(); err != nil {
		return 0, err
	}
	b.reading <- struct{}{}
	defer func() { <-b.reading }()
	owner, closed := b.state()
	switch {
	case owner == takenBack:
		return 0, errBodyTakenBack
	case owner == undecided && closed:
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	switch {
	case owner != undecided || b.over:
	case int64(len(b.kept))+int64(n) > b.limit:
		b.kept, b.over = nil, n > 0
	default:
		b.kept = append(b.kept, p[:n]...)
	}
	if err != nil && err != io.EOF {
		b.readErr = err
	}
	return n, err
}

// Close does not wait for a Read: it is what ends one that blocks.
func (b *keptBody) Close() error {
	b.mu.Lock()
	pass := b.owner == handedOver && !b.closed
	b.closed = true
	b.mu.Unlock()
	b.expect.end()
	if pass {
		return b.body.Close()
	}
	return nil
}

func (b *keptBody) state() (owner bodyOwner, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owner, b.closed
}

func (b *keptBody) handOver() {
	b.mu.Lock()
	late := b.owner == undecided && b.closed
	b.owner = handedOver
	b.mu.Unlock()
	b.expect.end()
	if late {
		_ = b.body.Close()
	}
}

// takeBackTime is how long a Read that is under way may take to end.
const takeBackTime = 250 * time.Millisecond

// takeBack ends the first sending and returns the whole body again: what was
// kept, and then what was never read. It returns false, and leaves the body where
// it is, if more was read than is kept or if a Read does not end.
//
// The next Read of the first sending fails, upon which net/http closes an HTTP/1.1
// connection, and that may cut the answer that is still being read from it. So
// whether there will be a second sending is found out first, and the body taken in
// the same step: if it returns false no Read has failed, and the answer that the
// caller gets is whole. If it returns true nobody wants that answer any more, so
// nothing is won by reading it beforehand, but much is lost: net/http waits 50 ms
// for the first sending at the end of an answer, and closing one over HTTP/2 waits
// for it without a limit.
func (b *keptBody) takeBack(ctx context.Context) (io.ReadCloser, bool) {
	timer := time.NewTimer(takeBackTime)
	defer timer.Stop()
	select {
	case b.reading <- struct{}{}:
	case <-timer.C:
		return nil, false
	case <-ctx.Done():
		return nil, false
	}
	defer func() { <-b.reading }()
	if b.over || b.readErr != nil {
		return nil, false
	}
	b.mu.Lock()
	b.owner = takenBack
	b.mu.Unlock()
	b.expect.end()
	if len(b.kept) == 0 {
		return b.body, true // as it came; net/http has short cuts for files
	}
	return &struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.kept), b.body), b.body}, true
}
