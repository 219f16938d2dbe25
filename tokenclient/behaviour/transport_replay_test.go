package behaviour_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What is to be kept from happening: a replay sends an empty, truncated or hanging body,
// returns the wrong response, or leaks the first one.

var errReplayBody = errors.New("the disk is gone")

const (
	replaySmall = 50_000
	replayHuge  = 100 << 20
)

// replayBody is a kind of bodies that programs send.
type replayBody struct {
	name  string
	huge  bool
	make  func(size int64) io.Reader
	after func(*http.Request)

	replayed      bool // although the server read it all
	replayedEarly bool // if the server read nothing
}

var replayBodies = []replayBody{
	{name: "bytes", make: func(n int64) io.Reader { return bytes.NewReader(replayBytes(n)) }, replayed: true, replayedEarly: true},
	{name: "strings", make: func(n int64) io.Reader { return strings.NewReader(string(replayBytes(n))) }, replayed: true, replayedEarly: true},
	{name: "buffer", make: func(n int64) io.Reader { return bytes.NewBuffer(replayBytes(n)) }, replayed: true, replayedEarly: true},
	{name: "stream", make: func(n int64) io.Reader { return &replayPattern{left: n} }, replayed: true, replayedEarly: true},
	{name: "stream of known length", make: func(n int64) io.Reader { return &replayPattern{left: n} },
		after: func(r *http.Request) { r.ContentLength = replaySmall }, replayed: true, replayedEarly: true},
	{name: "unknown length", make: func(n int64) io.Reader { return bytes.NewReader(replayBytes(n)) },
		after: func(r *http.Request) { r.ContentLength = -1 }, replayed: true, replayedEarly: true},
	{name: "pipe", make: replayPipe, replayed: true, replayedEarly: true},
	{name: "one byte at a time", make: func(n int64) io.Reader { return iotest.OneByteReader(&replayPattern{left: n}) }, replayed: true, replayedEarly: true},
	{name: "GetBody of the caller's", make: func(n int64) io.Reader { return &replayPattern{left: n} }, after: func(r *http.Request) {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&replayPattern{left: replaySmall}), nil }
	}, replayed: true, replayedEarly: true},
	{name: "GetBody that fails", make: func(n int64) io.Reader { return &replayPattern{left: n} }, after: func(r *http.Request) {
		r.GetBody = func() (io.ReadCloser, error) { return nil, errReplayBody }
	}},
	{name: "100 MiB", huge: true, make: func(n int64) io.Reader { return &replayPattern{left: n} }},
	{name: "100 MiB with GetBody", huge: true, make: func(n int64) io.Reader { return &replayPattern{left: n} }, after: func(r *http.Request) {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&replayPattern{left: replayHuge}), nil }
	}, replayed: true, replayedEarly: true},
}

// size is how long it is. Huge ones are left out in short mode.
func (b *replayBody) size(t *testing.T) int64 {
	if !b.huge {
		return replaySmall
	}
	if testing.Short() {
		t.Skip("100 MiB")
	}
	return replayHuge
}

func (b *replayBody) request(t *testing.T, srv *uploadServer) *http.Request {
	req := srv.request(t, t.Context(), b.make(b.size(t)))
	if b.after != nil {
		b.after(req)
	}
	return req
}

func replayPipe(n int64) io.Reader {
	r, w := io.Pipe()
	go func() { _, err := io.Copy(w, &replayPattern{left: n}); _ = w.CloseWithError(err) }()
	return r
}

// TestReplayBodyRead: the server reads the whole body and refuses then.
func TestReplayBodyRead(t *testing.T) {
	for _, tc := range replayBodies {
		t.Run(tc.name, func(t *testing.T) {
			size := tc.size(t)
			srv := startUploadServer(t, "HTTP/1.1", shortRefusal)
			srv.read = -1
			s := srv.session(t)
			client := s.Wrap(&http.Client{Transport: srv.transport})
			resp, err := client.Do(tc.request(t, srv))
			if err != nil {
				t.Fatal(err)
			}
			if tc.replayed {
				wantAccepted(t, resp, size, replaySum(size))
			} else {
				wantRefused(t, resp, shortRefusal)
			}
			srv.wantRefreshed(t, s)
			refused, accepted := srv.got()
			if len(refused) != 1 || (len(accepted) == 1) != tc.replayed || len(accepted) > 1 {
				t.Errorf("%d sendings refused and %d accepted", len(refused), len(accepted))
			}
			if refused[0].length != size {
				t.Errorf("the first sending had %d bytes, want %d", refused[0].length, size)
			}
		})
	}
}

// TestReplayBodyUnread: the server refuses at once, and closes the connection
// while the body is on its way. Whatever comes of it, no server ever accepts a
// body that is not whole, and the next request works.
func TestReplayBodyUnread(t *testing.T) {
	for _, tc := range replayBodies {
		t.Run(tc.name, func(t *testing.T) {
			size := tc.size(t)
			srv := startUploadServer(t, "HTTP/1.1", shortRefusal)
			s := srv.session(t)
			client := s.Wrap(&http.Client{Transport: srv.transport})
			resp, err := client.Do(tc.request(t, srv))
			switch {
			case err != nil:
				// net/http lost the 401 to a connection that was reset.
				t.Logf("the connection broke: %v", err)
				var te *tokenclient.TokenError
				if errors.As(err, &te) || errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("error %v", err)
				}
			case resp.StatusCode == 200 && (tc.replayedEarly || tc.huge):
				wantAccepted(t, resp, size, replaySum(size))
			default:
				wantRefused(t, resp, shortRefusal)
				if tc.replayedEarly {
					t.Error("not sent again")
				}
				srv.wantRefreshed(t, s)
			}
			_, accepted := srv.got()
			for _, got := range accepted {
				if got.length != size || got.sum != replaySum(size) {
					t.Errorf("the server accepted %d bytes with sum %s", got.length, got.sum)
				}
			}
			if resp, err = client.Do(srv.request(t, t.Context(), strings.NewReader("next"))); err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("the next request got status %d", resp.StatusCode)
			}
		})
	}
}

// TestReplayBodyFails: a body whose Read fails fails the request, with its error.
func TestReplayBodyFails(t *testing.T) {
	for _, early := range []bool{false, true} {
		srv := startUploadServer(t, "HTTP/1.1", shortRefusal)
		if !early {
			srv.read = -1
		}
		s := srv.session(t)
		body := io.MultiReader(bytes.NewReader(replayBytes(1000)), iotest.ErrReader(errReplayBody))
		resp, err := s.Wrap(&http.Client{Transport: srv.transport}).Do(srv.request(t, t.Context(), body))
		switch {
		case err != nil:
			if !errors.Is(err, errReplayBody) {
				t.Errorf("early %v: error %v, want that of the body", early, err)
			}
		case early: // the answer may have been faster than the failure
			wantRefused(t, resp, shortRefusal)
		default:
			t.Errorf("status %d for a body that broke", resp.StatusCode)
			_ = resp.Body.Close()
		}
		srv.close() // waits for the handler
		if _, accepted := srv.got(); len(accepted) > 0 {
			t.Errorf("early %v: the server accepted %+v of a body that broke", early, accepted)
		}
	}
}
