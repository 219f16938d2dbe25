// Package aside puts answers aside: those of which it is not known yet whether anybody will
// read them. The connection of an answer is in use as long as its body was not read, and
// there may be a bound on connections to a host. Who waits for what another request to
// that host finds out must not hold one that the other one needs.
//
// So the body is read into memory, within a bound, while its owner does something else. What
// the owner reads in the end is the same to the byte, whether or not all of it was read by
// then. It comes as soon as it has come here: a stream that says a word and is silent for an
// hour does the same for its owner. Errors come where they were, and so does a panic, which
// would otherwise end the process: the owner may expect it, as net/http's server does.
package aside

import (
	"bytes"
	"io"
	"net/http"
	"sync"
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
	a := &answer{body: body}
	a.news.L = &a.mu
	go a.fill()
	return a
}

// An answer is the body of one.
type answer struct {
	body io.ReadCloser

	mu       sync.Mutex   // guards the rest; not held while body is read
	news     sync.Cond    // of what changes below
	head     bytes.Buffer // what was read and not handed out yet
	over     bool         // nothing more is read ahead
	err      error        // how the reading ended; nil: at the bound
	panicked any          // or so
}

// piece is how much one Read may bring.
const piece = 4 << 10

func (a *answer) fill() {
	a.mu.Lock()
	defer func() {
		a.over = true
		a.mu.Unlock()
		a.news.Broadcast()
	}()
	p := make([]byte, piece)
	for n := 0; n < Most && a.err == nil && a.panicked == nil; {
		m, panicked, err := a.readUnlocked(p[:min(piece, Most-n)])
		n += m
		a.head.Write(p[:m])
		a.err, a.panicked = err, panicked
		a.news.Broadcast()
	}
}

// readUnlocked is one Read, for which the lock is let go of. It is taken again even if the Read
// ends its goroutine: the owner finds out for himself.
func (a *answer) readUnlocked(p []byte) (n int, panicked any, err error) {
	a.mu.Unlock()
	defer a.mu.Lock()
	defer func() { panicked = recover() }()
	n, err = a.body.Read(p)
	return n, nil, err
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.head.Len() == 0 && !a.over {
		a.news.Wait()
	}
	switch {
	case a.head.Len() > 0:
		return a.head.Read(p)
	case a.panicked != nil:
		panic(a.panicked)
	case a.err != nil:
		return 0, a.err
	}
	a.mu.Unlock()
	defer a.mu.Lock()
	return a.body.Read(p)
}

// Close implements io.Closer. It ends a reading that is under way.
func (a *answer) Close() error { return a.body.Close() }
