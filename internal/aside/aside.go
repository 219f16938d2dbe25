// Package aside puts answers aside: those of which it is not known yet whether anybody will
// read them. The connection of an answer is in use as long as its body was not read, and
// there may be a bound on connections to a host. Who waits for what another request to
// that host finds out must not hold one that the other one needs.
//
// So the body is read into memory, within a bound, while its owner does something else. What
// the owner reads in the end is the same to the byte, whether or not all of it was read by
// then, and errors come where they were.
package aside

import (
	"bytes"
	"io"
	"net/http"
)

// Most is how many bytes are read of a body before its owner does.
const Most = 64 << 10

// Put returns body with all that it has, up to Most bytes of which are read meanwhile. The
// goroutine that does that ends with the body, at the bound, or with Close, as a Read of
// an [http.Response]'s Body does. So the owner must close what Put returns, and use body no
// more.
func Put(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	a := &answer{body: body, ready: make(chan struct{})}
	go a.fill()
	return a
}

// An answer is the body of one.
type answer struct {
	body  io.ReadCloser
	ready chan struct{} // closed when the rest is set
	head  bytes.Buffer  // what was read and not handed out yet
	err   error         // how the reading ended; nil: at the bound
}

func (a *answer) fill() {
	defer close(a.ready)
	_, a.err = io.CopyN(&a.head, a.body, Most)
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	<-a.ready
	switch {
	case a.head.Len() > 0:
		return a.head.Read(p)
	case a.err != nil:
		return 0, a.err
	}
	return a.body.Read(p)
}

// Close implements io.Closer. It ends a reading that is under way.
func (a *answer) Close() error { return a.body.Close() }
