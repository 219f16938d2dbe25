package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestReplayKeptBytes: what is kept of a body without GetBody, to the byte. Base
// reads so much of it and answers 401 then.
func TestReplayKeptBytes(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		name             string
		limit, size, use int64 // use: how much Base reads the first time
		replayed         bool
	}{
		{"default, at the limit", 0, mib, mib, true},
		{"default, one over", 0, mib + 1, mib + 1, false},
		{"default, one over, not read to the end", 0, mib + 1, mib, true},
		{"small, at the limit", 10, 10, 10, true},
		{"small, one over", 10, 11, 11, false},
		{"small, long body, little read", 10, 5 * mib, 10, true},
		{"small, long body, one more read", 10, 5 * mib, 11, false},
		{"large", 3 * mib, 3 * mib, 3 * mib, true},
		{"nothing is kept", -1, 1, 1, false},
		{"nothing is kept, empty body", -1, 0, 1, true},
		{"nothing is kept, never sent", -1, 5 * mib, 0, true},
		{"never sent", 1, 5 * mib, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var sent [][]byte
			s := sessiontest.LoggedIn(t, nil)
			transport := s.Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				use := tc.use
				if len(sent) > 0 {
					use = 1 << 40
				}
				got, err := io.ReadAll(io.LimitReader(req.Body, use))
				if err == nil && len(sent) == 0 && use == tc.size { // so far that the end shows
					_, err = req.Body.Read(make([]byte, 1))
				}
				if err != nil && err != io.EOF {
					t.Errorf("sending %d: %v", len(sent)+1, err)
				}
				_ = req.Body.Close()
				sent = append(sent, got)
				status := 401
				if len(sent) > 1 {
					status = 200
				}
				return &http.Response{StatusCode: status, Body: http.NoBody, Request: req}, nil
			}))
			transport.MaxReplayBody = tc.limit
			body := &sessiontest.Body{Reader: &replayPattern{left: tc.size}}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 200, false: 401}[tc.replayed]; resp.StatusCode != want {
				t.Errorf("status %d, want %d", resp.StatusCode, want)
			}
			if n := body.Closed.Load(); n != 1 {
				t.Errorf("the body was closed %d times", n)
			}
			if tc.replayed && (len(sent) != 2 || string(sent[1]) != string(replayBytes(tc.size))) {
				t.Errorf("%d sendings; the last is not the whole body", len(sent))
			}
		})
	}
}

// TestReplayOddReaders: readers that return no byte and no error, and their last
// bytes with the end, are kept whole.
func TestReplayOddReaders(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"EOF with the last bytes": iotest.DataErrReader(strings.NewReader(sessiontest.Payload)),
		"Reads of nothing":        io.MultiReader(&stutter{r: strings.NewReader(sessiontest.Payload)}),
	} {
		base := sessiontest.NewBase(401, 200)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
		resp, err := sessiontest.LoggedIn(t, nil).Transport(base).RoundTrip(req)
		if err != nil || resp.StatusCode != 200 || base.Sent[0].Body != sessiontest.Payload || base.Sent[1].Body != sessiontest.Payload {
			t.Errorf("%s: response %v, error %v, sent %+v", name, resp, err, base.Sent)
		}
	}
}

// stutter returns nothing every other time.
type stutter struct {
	r    io.Reader
	turn bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.turn = !s.turn; s.turn {
		return 0, nil
	}
	return s.r.Read(p[:min(3, len(p))])
}

// TestReplayBrokenBodyRefused: the body broke, and the server refused what it had
// got so far. What is kept is not the body, so it is not sent.
func TestReplayBrokenBodyRefused(t *testing.T) {
	var sent int
	transport := sessiontest.LoggedIn(t, nil).Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		sent++
		_, err := io.ReadAll(req.Body)
		if !errors.Is(err, errReplayBody) {
			t.Errorf("the body ended with %v", err)
		}
		_ = req.Body.Close()
		return &http.Response{StatusCode: 401, Body: http.NoBody, Request: req}, nil
	}))
	body := &sessiontest.Body{Reader: io.MultiReader(strings.NewReader(sessiontest.Payload), iotest.ErrReader(errReplayBody))}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
	resp, err := transport.RoundTrip(req)
	if err != nil || resp.StatusCode != 401 || sent != 1 || body.Closed.Load() != 1 {
		t.Errorf("response %v, error %v, sent %d times, closed %d times", resp, err, sent, body.Closed.Load())
	}
}

// TestNoReplay: the caller gets the 401 whole, and the next request a token
// that works.
func TestNoReplay(t *testing.T) {
	srv := startUploadServer(t, "HTTP/1.1", shortRefusal)
	srv.read = -1
	s := srv.session(t)
	transport := s.Transport(srv.transport)
	var asked []*http.Request
	transport.NoReplay = func(req *http.Request) bool {
		asked = append(asked, req)
		return req.Method == http.MethodPost
	}
	client := &http.Client{Transport: transport}
	req := srv.request(t, t.Context(), strings.NewReader("pay 5 euros"))
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, resp, shortRefusal)
	srv.wantRefreshed(t, s)
	if resp, err = client.Do(req.Clone(t.Context())); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if refused, accepted := srv.got(); resp.StatusCode != 200 || len(refused) != 1 || len(accepted) != 1 {
		t.Errorf("status %d, %d sendings refused and %d accepted", resp.StatusCode, len(refused), len(accepted))
	}
	if len(asked) != 1 || asked[0].Header.Get("Authorization") != "" {
		t.Errorf("NoReplay was asked about %d requests, or shown the token", len(asked))
	}
}

// TestReplayCancelMidBody: the caller leaves while its body is on its way. It is
// free when its body's Read ends, gets its context's error, and the body is closed.
func TestReplayCancelMidBody(t *testing.T) {
	srv := startUploadServer(t, "HTTP/1.1", shortRefusal)
	srv.read = -1
	s := srv.session(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := &sessiontest.Body{Reader: &cancelAfter{r: &replayPattern{left: 1 << 40}, left: 1 << 20, cancel: cancel}}
	resp, err := s.Wrap(&http.Client{Transport: srv.transport}).Do(srv.request(t, ctx, body))
	if err == nil {
		_ = resp.Body.Close()
		t.Fatalf("status %d", resp.StatusCode)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if n := body.Closed.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
	if resp, err = s.Wrap(&http.Client{Transport: srv.transport}).Do(srv.request(t, t.Context(), strings.NewReader("next"))); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// cancelAfter calls cancel when so much was read.
type cancelAfter struct {
	r      io.Reader
	left   int
	cancel func()
}

func (c *cancelAfter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= n; c.left <= 0 {
		c.cancel()
	}
	return n, err
}

// TestReplayCancelWhileWaiting: the caller leaves during the refresh. Its body is
// closed, the second sending does not happen, and the refresh completes.
func TestReplayCancelWhileWaiting(t *testing.T) {
	for _, kind := range []string{"GetBody", "stream"} {
		ctx, cancel := context.WithCancel(t.Context())
		proceed, done := make(chan struct{}), make(chan struct{})
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Refresher = tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				cancel()
				<-proceed
				return &tokenclient.Token{AccessToken: sessiontest.Access(1)}, nil
			})
			c.Hooks = &tokenclient.Hooks{Refreshed: func(tokenclient.RefreshInfo) { close(done) }}
		})
		base := sessiontest.NewBase(401)
		req := sessiontest.NewRequest(t, ctx, sessiontest.URL, kind, nil)
		_, err := s.Transport(base).RoundTrip(req.Request)
		if !errors.Is(err, context.Canceled) || len(base.Sent) != 1 {
			t.Errorf("%s: error %v after %d sendings", kind, err, len(base.Sent))
		}
		req.WantClosed(t)
		close(proceed)
		<-done
		if token, err := s.Token(t.Context()); err != nil || token.AccessToken != sessiontest.Access(1) {
			t.Errorf("%s: token %v, error %v", kind, token, err)
		}
	}
}
