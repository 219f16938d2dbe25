// Package peek looks at the beginning of an answer's body, and leaves the answer whole.
//
// Some servers say in the body what others say by the status. Who wants to know has to
// read a part of it, without taking anything from whoever gets the answer afterwards, and
// without waiting for a stream that says nothing for an hour. So three things bound a
// peek: bytes, time, and the context of the request. Nothing is read before it is asked
// for.
//
// A Read cannot be taken back. One that is still at work when the time is over is handed
// on, as are the bytes that came, and an error that came after them: the next reader waits
// for that Read, as it would have waited for its own. Close ends it as it ends any other.
//
// The package knows nothing of tokens, and nothing of what it looks at but its encoding.
package peek

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Most is how many bytes a peek reads at most.
const Most = 1 << 20

// At returns the beginning of resp's body, up to most bytes, or what there is of it when the
// body ends, fails, when wait is over or when the request's context ends. It is decoded if
// the answer is encoded with gzip; of another encoding nothing is returned. resp.Body is
// replaced by one that begins with what was read.
func At(resp *http.Response, most int, wait time.Duration) []byte {
	most = min(most, Most)
	if resp.Body == nil || resp.Body == http.NoBody || most <= 0 {
		return nil
	}
	if _, both := resp.Body.(io.Writer); both {
		return nil // 101: a connection in both directions, which is not ours to read from
	}
	decode := decoder(resp)
	if decode == nil {
		return nil
	}
	ctx := context.Background()
	if resp.Request != nil {
		ctx = resp.Request.Context()
	}
	b, ok := resp.Body.(*body)
	if !ok {
		b = &body{body: resp.Body, closed: make(chan struct{})}
		resp.Body = b
	}
	return decode(b.peek(ctx, most, wait), most)
}

// decoder returns what decodes the beginning of resp's body; nil: nothing here does.
func decoder(resp *http.Response) func([]byte, int) []byte {
	switch strings.ToLower(strings.TrimSpace(strings.Join(resp.Header.Values("Content-Encoding"), ","))) {
	case "", "identity":
		return func(b []byte, _ int) []byte { return b }
	case "gzip", "x-gzip":
		return gunzip
	}
	return nil
}

// gunzip returns what the beginning of a gzip stream says, up to most bytes.
func gunzip(b []byte, most int) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(r, int64(most))) // it ends in the middle
	return text
}

// A body is that of an answer, some of which may have been looked at. One goroutine uses it
// at a time, but for Close.
type body struct {
	body   io.ReadCloser
	closed chan struct{}
	once   sync.Once // closes closed

	mu       sync.Mutex // guards the rest; not held while body is read
	ahead    []byte     // was read and not given out
	err      error      // came after ahead
	panicked any        // came after ahead
	reading  *reading   // nil: nothing is at work
}

// A reading is a goroutine that reads a body. It ends with the Read that is at work when
// nobody waits for it any more.
type reading struct {
	most  int           // how many bytes are wanted ahead; guarded, as stop is, by body.mu
	stop  bool          // nobody waits
	ended chan struct{} // closed at its end
}

var errClosed = errors.New("http: read on closed response body")

// peek returns the first bytes of what is ahead, most at most, after it has waited for them.
func (b *body) peek(ctx context.Context, most int, wait time.Duration) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.needsLocked(most) {
		r := b.reading
		if r == nil {
			r = &reading{ended: make(chan struct{})}
			b.reading = r
			go b.read(r)
		}
		r.most, r.stop = most, false // an earlier peek may have given it up
		b.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-r.ended:
		case <-timer.C:
		case <-ctx.Done():
		case <-b.closed:
		}
		timer.Stop()
		b.mu.Lock()
		r.stop = true
	}
	return bytes.Clone(b.ahead[:min(most, len(b.ahead))])
}

func (b *body) needsLocked(most int) bool {
	return len(b.ahead) < most && b.err == nil && b.panicked == nil
}

// read reads until there is ahead what r wants, or until it is stopped.
func (b *body) read(r *reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() {
		b.reading = nil
		close(r.ended)
	}()
	for b.needsLocked(r.most) && !r.stop {
		p := make([]byte, min(r.most-len(b.ahead), 4096))
		n, panicked, err := b.readUnlocked(p)
		b.ahead = append(b.ahead, p[:n]...)
		b.err, b.panicked = err, panicked
	}
}

// readUnlocked is one Read, for which the lock is let go of. It is taken again even if the Read
// ends its goroutine: whoever reads next finds out for itself.
func (b *body) readUnlocked(p []byte) (n int, panicked any, err error) {
	b.mu.Unlock()
	defer b.mu.Lock()
	return readOnce(b.body, p)
}

// readOnce is one Read. A panic is that of whoever reads the body, who may expect it.
func readOnce(r io.Reader, p []byte) (n int, panicked any, err error) {
	defer func() { panicked = recover() }()
	n, err = r.Read(p)
	return n, nil, err
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	for {
		select {
		case <-b.closed:
			b.mu.Unlock()
			return 0, errClosed
		default:
		}
		switch {
		case len(b.ahead) > 0:
			n := copy(p, b.ahead)
			if b.ahead = b.ahead[n:]; len(b.ahead) == 0 {
				b.ahead = nil
			}
			b.mu.Unlock()
			return n, nil
		case b.panicked != nil:
			defer b.mu.Unlock()
			panic(b.panicked)
		case b.err != nil:
			defer b.mu.Unlock()
			return 0, b.err
		case b.reading == nil:
			b.mu.Unlock()
			return b.body.Read(p)
		}
		b.reading.stop = true
		ended := b.reading.ended
		b.mu.Unlock()
		select {
		case <-ended:
		case <-b.closed:
		}
		b.mu.Lock()
	}
}

// Close implements io.Closer. It does not wait for a Read, which it ends.
func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.body.Close()
}
