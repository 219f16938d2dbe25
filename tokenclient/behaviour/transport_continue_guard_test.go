package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// continueBase is an http.Transport without a network: send takes the place of its
// connections, and calls the hooks.
func continueBase(timeout time.Duration, send sessiontest.RoundTrip) *http.Transport {
	t := &http.Transport{ExpectContinueTimeout: timeout}
	t.RegisterProtocol("http", send)
	return t
}

// continueSend sends a stream of size bytes through base.
func continueSend(t *testing.T, ctx context.Context, base http.RoundTripper, size int64) (*uploadBody, *http.Response, error) {
	t.Helper()
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{sessiontest.FakeAPI} })
	transport := s.Transport(base)
	transport.ExpectContinue, transport.MaxReplayBody = true, -1
	body := newUpload(size)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sessiontest.FakeAPI, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	return body, resp, err
}

// TestExpectContinueHold: from the first byte of the answer on a Read waits, and
// what ends that. Each act begins while one waits.
func TestExpectContinueHold(t *testing.T) {
	const timeout = time.Minute
	for _, tc := range []struct {
		name string
		act  func(*http.Request, *httptrace.ClientTrace, context.CancelFunc)
		took time.Duration
		err  error // of the Read
	}{
		{"100 Continue", func(_ *http.Request, trace *httptrace.ClientTrace, _ context.CancelFunc) { trace.Got100Continue() }, 0, nil},
		{"context", func(_ *http.Request, _ *httptrace.ClientTrace, cancel context.CancelFunc) { cancel() }, 0, context.Canceled},
		{"Close", func(r *http.Request, _ *httptrace.ClientTrace, _ context.CancelFunc) { _ = r.Body.Close() }, 0, http.ErrBodyReadAfterClose},
		{"timeout", func(*http.Request, *httptrace.ClientTrace, context.CancelFunc) {}, timeout, nil},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			base := continueBase(timeout, func(r *http.Request) (*http.Response, error) {
				trace := httptrace.ContextClientTrace(r.Context())
				trace.Wait100Continue()
				began := time.Now()
				trace.GotFirstResponseByte()
				done := make(chan error)
				go func() { _, err := r.Body.Read(make([]byte, 1)); done <- err }()
				synctest.Wait()
				select {
				case err := <-done:
					t.Errorf("the Read did not wait, error %v", err)
					return nil, errReplayBody
				default:
				}
				tc.act(r, trace, cancel)
				if err := <-done; !errors.Is(err, tc.err) {
					t.Errorf("the Read ended with %v, want %v", err, tc.err)
				}
				if took := time.Since(began); took != tc.took {
					t.Errorf("the Read waited %v, want %v", took, tc.took)
				}
				_ = r.Body.Close()
				return nil, errReplayBody
			})
			body, _, err := continueSend(t, ctx, base, 10)
			if !errors.Is(err, errReplayBody) || body.closed.Load() != 1 {
				t.Errorf("error %v, closed %d times", err, body.closed.Load())
			}
		})
	}
}

// TestExpectContinueHoldLate: the answer begins when the base transport has stopped
// waiting. A Read waits for the rest of it, but not for long: it may be all there
// is, and net/http finds that its connection broke after the Read only.
func TestExpectContinueHoldLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := continueBase(time.Second, func(r *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			trace.Wait100Continue()
			time.Sleep(time.Minute)
			trace.GotFirstResponseByte()
			for i, want := range []time.Duration{100 * time.Millisecond, 0} {
				began := time.Now()
				if _, err := r.Body.Read(make([]byte, 1)); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != want {
					t.Errorf("Read %d waited %v, want %v", i, took, want)
				}
			}
			_ = r.Body.Close()
			return nil, errReplayBody
		})
		if _, _, err := continueSend(t, t.Context(), base, 10); !errors.Is(err, errReplayBody) {
			t.Errorf("error %v", err)
		}
	})
}

// TestExpectContinueAnswerFirst: the answer may begin before the base transport
// says that it waits. It is on another goroutine.
func TestExpectContinueAnswerFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		var readers sync.WaitGroup
		began := time.Now()
		base := continueBase(time.Minute, func(r *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			sent = append(sent, r.Header.Get("Expect"))
			if len(sent) == 2 {
				got, err := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if err != nil || string(got) != string(replayBytes(10)) {
					t.Errorf("%q, error %v", got, err)
				}
				return sessiontest.Reply(r, 200), nil
			}
			trace.GotFirstResponseByte()
			trace.Wait100Continue()
			readers.Go(func() {
				if _, err := r.Body.Read(make([]byte, 1)); err == nil {
					t.Error("a Read of a body that was sent again")
				}
				_ = r.Body.Close()
			})
			synctest.Wait()
			return sessiontest.Reply(r, 401), nil
		})
		body, resp, err := continueSend(t, t.Context(), base, 10)
		if err != nil || resp.StatusCode != 200 || body.closed.Load() != 1 {
			t.Errorf("response %v, error %v, closed %d times", resp, err, body.closed.Load())
		}
		readers.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("the first sending went on for %v", took)
		}
		if got := strings.Join(sent, ","); got != "100-continue," {
			t.Errorf("Expect was %q", got)
		}
	})
}

// TestExpectContinueAnswerBreaks: the server takes a part of the body without
// having asked for it, begins to answer, and is gone. RoundTrip returns.
func TestExpectContinueAnswerBreaks(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		before := runtime.NumGoroutine()
		t.Run("", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := startRawServer(t, func(_ *uploadServer, conn io.Writer, r *http.Request) error {
				_, _ = io.ReadFull(r.Body, make([]byte, 1<<10))
				_, _ = io.WriteString(conn, "HTTP/1.1 4")
				if !cancelled {
					return net.ErrClosed
				}
				cancel()
				_, err := io.Copy(io.Discard, r.Body) // until the client is gone
				return err
			})
			s.transport.ExpectContinueTimeout = time.Millisecond
			session := s.session(t)
			body := newUpload(1 << 50)
			resp, err := s.asking(session).RoundTrip(s.request(t, ctx, body))
			if err == nil {
				t.Fatalf("status %d", resp.StatusCode)
			}
			if errors.Is(err, context.Canceled) != cancelled {
				t.Errorf("error %v", err)
			}
			if c := body.closed.Load(); c != 1 {
				t.Errorf("the body was closed %d times", c)
			}
		})
		wantGoroutines(t, before)
	}
}

// TestExpectContinueCancelled: the caller leaves when the server has refused the
// token, and net/http waits in a Read.
func TestExpectContinueCancelled(t *testing.T) {
	for _, kind := range continueServers {
		before := runtime.NumGoroutine()
		t.Run(kind.name, func(t *testing.T) {
			s := kind.start(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			session := s.session(t)
			transport := s.asking(session)
			transport.NoReplay = func(*http.Request) bool { cancel(); return false }
			body := newUpload(continueSize)
			resp, err := transport.RoundTrip(s.request(t, ctx, body))
			if err == nil { // the 401
				_ = resp.Body.Close()
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			s.transport.CloseIdleConnections()
		})
		wantGoroutines(t, before)
	}
}

// wantGoroutines fails unless no more goroutines are left than before.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
		}
	}
}
