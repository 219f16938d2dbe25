package endpoint

import (
	"bytes"
	"net/http"
	"sync"
)

// onceBody is a request body that knows whether any of it was taken.
type onceBody struct {
	mu              sync.Mutex // guards all below
	r               *bytes.Reader
	taken, detached bool
}

// Read implements io.Reader.
func (b *onceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.detached {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(p) > 0 {
		b.taken = true
	}
	return b.r.Read(p)
}

// Close implements io.Closer.
func (b *onceBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached = true
	return nil
}

// detach makes further Reads fail and reports whether there was one before.
func (b *onceBody) detach() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached = true
	return b.taken
}
