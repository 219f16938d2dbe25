package behaviour_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
)

// ownedBody is a body of a caller who trusts net/http to read it from one
// goroutine at a time, in order. The race detector sees who does not: nothing
// guards next.
type ownedBody struct {
	t      *testing.T
	size   int
	next   int
	inside atomic.Int32
	closed atomic.Int32
}

func (b *ownedBody) Read(p []byte) (int, error) {
	if b.inside.Add(1) > 1 {
		b.t.Error("two Reads at the same time")
	}
	defer b.inside.Add(-1)
	if b.closed.Load() > 0 {
		b.t.Error("Read after Close")
	}
	n := min(len(p), b.size-b.next, 100)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = byte(b.next + i)
	}
	b.next += n
	return n, nil
}

func (b *ownedBody) Close() error {
	b.closed.Add(1)
	return nil
}

// TestReplayFirstSendingEnds: the transport may go on reading the first body when
// its answer has been closed; net/http does. No byte that it takes then may be
// missing from the second sending.
func TestReplayFirstSendingEnds(t *testing.T) {
	const size = 100_000
	for i := range 50 {
		var n int
		var readers sync.WaitGroup
		body := &ownedBody{t: t, size: size}
		transport := sessiontest.LoggedIn(t, nil).Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			if n++; n == 1 {
				some := make(chan struct{})
				readers.Go(func() { // until Read fails
					p := make([]byte, 64)
					for j := 0; ; j++ {
						if j == i*20 {
							close(some)
						}
						if _, err := req.Body.Read(p); err != nil {
							break
						}
					}
					_ = req.Body.Close()
				})
				<-some
				return &http.Response{StatusCode: 401, Body: http.NoBody, Request: req}, nil
			}
			got, err := io.ReadAll(req.Body)
			_ = req.Body.Close()
			if err != nil || len(got) != size {
				t.Errorf("the second sending has %d bytes, error %v", len(got), err)
			}
			for k, b := range got {
				if b != byte(k) {
					t.Fatalf("byte %d of the second sending is wrong", k)
				}
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody, Request: req}, nil
		}))
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("response %v, error %v", resp, err)
		}
		readers.Wait()
		if c := body.closed.Load(); c != 1 {
			t.Errorf("the body was closed %d times", c)
		}
	}
}

// blockedBody has nothing to read until it is closed, as a pipe whose writer is
// late.
type blockedBody struct {
	once   sync.Once
	gone   chan struct{}
	closed atomic.Int32
}

func (b *blockedBody) Read([]byte) (int, error) {
	<-b.gone
	return 0, io.ErrClosedPipe
}

func (b *blockedBody) Close() error {
	b.closed.Add(1)
	b.once.Do(func() { close(b.gone) })
	return nil
}

// blockedBase answers 401 while a Read of the body blocks. It closes the body
// when the answer is closed, or at once.
func blockedBase(t *testing.T, closeAtOnce bool) (base http.RoundTripper, reader *sync.WaitGroup) {
	reader = new(sync.WaitGroup)
	return sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		reader.Go(func() {
			if _, err := req.Body.Read(make([]byte, 1)); err == nil {
				t.Error("a Read of nothing succeeded")
			}
		})
		synctest.Wait() // until it blocks
		if closeAtOnce {
			_ = req.Body.Close()
		}
		return &http.Response{StatusCode: 401, Request: req, Body: &closeBoth{strings.NewReader(shortRefusal), req.Body}}, nil
	}), reader
}

type closeBoth struct {
	io.Reader
	also io.Closer
}

func (b *closeBoth) Close() error { return b.also.Close() }

// TestReplayBlockedBody: a Read of the body does not end. It is handed on to the second
// sending, which the server refuses too; that 401 is handed back, and the body closed
// once, which is what ends the Read.
func TestReplayBlockedBody(t *testing.T) {
	for _, closeAtOnce := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := sessiontest.LoggedIn(t, nil)
			base, reader := blockedBase(t, closeAtOnce)
			body := &blockedBody{gone: make(chan struct{})}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
			began := time.Now()
			resp, err := s.Transport(base).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %v", took)
			}
			wantRefused(t, resp, shortRefusal)
			reader.Wait()
			if n := body.closed.Load(); n != 1 {
				t.Errorf("close at once %v: the body was closed %d times", closeAtOnce, n)
			}
			synctest.Wait()
			if token, err := s.Peek(t.Context()); err != nil || token.AccessToken != sessiontest.Access(1) {
				t.Errorf("token %v, error %v; want the next", token, err)
			}
		})
	}
}

// TestReplayBlockedBodyCancelled: a body with a GetBody is not asked for another while a
// Read of it is at work, and the caller need not wait for that longer than its context
// lasts.
func TestReplayBlockedBodyCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sessiontest.LoggedIn(t, nil)
		base, reader := blockedBase(t, false)
		body := &blockedBody{gone: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, sessiontest.URL, body)
		req.GetBody = func() (io.ReadCloser, error) {
			t.Error("GetBody was called while the body was being read")
			return body, nil
		}
		began := time.Now()
		resp, err := s.Transport(base).RoundTrip(req)
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
		reader.Wait()
		if n := body.closed.Load(); n != 1 {
			t.Errorf("the body was closed %d times", n)
		}
	})
}

// TestReplayPipeOnTheWire: the same with a server that answers before the writer
// of a pipe has written anything. If net/http has not begun to read, the body is
// as good as new and is sent again; else the 401 comes back.
func TestReplayPipeOnTheWire(t *testing.T) {
	srv := startUploadServer(t, "HTTP/1.1", shortRefusal)
	srv.hangsUp = true
	s := srv.session(t)
	r, w := io.Pipe()
	srv.accepting = func() { _, err := io.WriteString(w, sessiontest.Payload); _ = w.CloseWithError(err) }
	defer w.Close()
	resp, err := s.Wrap(&http.Client{Transport: srv.transport}).Do(srv.request(t, t.Context(), r))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == 200 {
		sum := sha256.Sum256([]byte(sessiontest.Payload))
		wantAccepted(t, resp, int64(len(sessiontest.Payload)), hex.EncodeToString(sum[:]))
	} else {
		wantRefused(t, resp, shortRefusal)
	}
	srv.wantRefreshed(t, s)
}
