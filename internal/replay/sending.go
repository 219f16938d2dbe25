package replay

import (
	"context"
	"io"
)

// A sending is a request's body as one sending sees it.
type sending struct {
	source *source
	nth    int  // how many sendings came before; what net/http repeats by itself does not count
	closed bool // guarded by source.mu, as the rest

	inSpool int64 // where in source.spool it reads on
	inKept  int   // where in source.kept
}

// Read implements io.Reader.
func (s *sending) Read(p []byte) (int, error) {
	src := s.source
	if s.nth == 0 {
		// Before begin: a Read that waits here has taken nothing.
		if err := src.expect.wait(); err != nil {
			return 0, err
		}
	}
	for {
		n, body, file, err := src.begin(s, p)
		switch {
		case body != nil:
			return src.readBody(s, body, p)
		case file == nil:
			return n, err
		}
		if n, err = src.readSpool(s, file, p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// Close implements io.Closer. It does not wait for a Read: it is what ends one that
// blocks. It does not reach the body as long as another sending may need it.
func (s *sending) Close() error {
	src := s.source
	src.mu.Lock()
	var list []io.Closer
	if !s.closed {
		s.closed = true
		if src.reader == s && src.decided {
			list = src.takeClosersLocked()
		}
	}
	src.mu.Unlock()
	if s.nth == 0 {
		src.expect.end()
	}
	return closeAll(list)
}

// repeat is the GetBody of a request that s is the body of: net/http sends some again by
// itself, if a connection broke.
func (s *sending) repeat() (io.ReadCloser, error) {
	src := s.source
	src.mu.Lock()
	over := src.nth != s.nth
	src.mu.Unlock()
	if over {
		return nil, errOver
	}
	next := &sending{source: src, nth: s.nth}
	if err := src.reopen(context.Background(), next, src.getBody); err != nil {
		return nil, err
	}
	return next, nil
}
