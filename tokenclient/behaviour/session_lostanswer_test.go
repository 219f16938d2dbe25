package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// The server rotated, and the client lost the answer. What a killed process loses is
// tested with package store.

// TestLostAnswerCallerLeavesBeforeCommit: the only caller leaves while the server
// works. The refresh goes on without it.
func TestLostAnswerCallerLeavesBeforeCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 2 * time.Second}, nil)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

// TestLostAnswerCallerLeavesAfterCommit: the only caller leaves when the server has
// rotated and the answer is on its way.
func TestLostAnswerCallerLeavesAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
			refresher := srv.OAuth2Refresher()
			base := refresher.HTTPClient.Transport
			refresher.HTTPClient.Transport = sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				cancel()
				time.Sleep(time.Second) // the caller is gone by now
				return resp, err
			})
			c.Refresher = refresher
		})
		old := r.Login(t)
		r.Server.RevokeAccess("alice")
		began := time.Now()
		if _, err := r.Get(ctx); !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
			t.Errorf("error %v after %v, want the context's at once", err, time.Since(began))
		}
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
		if now, err := r.Session.Peek(t.Context()); err != nil || now.RefreshToken == old.RefreshToken {
			t.Errorf("token %v, error %v; want the new one", now, err)
		}
	})
}

// TestLostAnswer: the server rotates and the connection breaks. One more
// presentation, at once, saves the session where the server has a grace period; a
// strict server ends it. Nothing is presented again and again. On loopback.
func TestLostAnswer(t *testing.T) {
	for _, tc := range []struct {
		name      string
		grace     time.Duration
		cuts      int
		terminal  bool
		temporary bool
		refreshes int
		reuses    int
	}{
		{name: "grace", grace: time.Minute, cuts: 1, refreshes: 2},
		{name: "strict", cuts: 1, terminal: true, refreshes: 2, reuses: 1},
		{name: "grace, twice", grace: time.Minute, cuts: -1, temporary: true, refreshes: 2},
		{name: "strict, twice", cuts: -1, temporary: true, refreshes: 2, reuses: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{ReuseGrace: tc.grace}, nil)
			r.Login(t)
			r.Server.RevokeAccess("alice")
			r.Server.FailRefresh(tc.cuts, tokentest.Fault{Cut: true, AfterCommit: true})
			status, err := r.Get(t.Context())
			var te *tokenclient.TokenError
			switch {
			case tc.terminal:
				if !errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("status %d, error %v; want ErrLoginRequired", status, err)
				}
			case tc.temporary:
				if !errors.As(err, &te) || !te.Temporary() || errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("status %d, error %v; want a transient one", status, err)
				}
			default:
				if err != nil || status != 200 {
					t.Errorf("status %d, error %v", status, err)
				}
			}
			c := r.Server.Counters()
			if c.Refreshes != tc.refreshes || c.Reuses != tc.reuses {
				t.Errorf("%d presentations, %d reuses; want %d, %d", c.Refreshes, c.Reuses, tc.refreshes, tc.reuses)
			}
		})
	}
}

// TestLostAnswerNeverALoop: an endpoint that rotates and never answers is not asked
// more and more, however many requests need it.
func TestLostAnswerNeverALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, ReuseGrace: time.Hour}, nil)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		r.Server.FailRefresh(-1, tokentest.Fault{Cut: true, AfterCommit: true})
		for _, want := range []int{2, 3, 4} { // only the first loss has a second try at once
			if _, err := r.Get(t.Context()); err == nil {
				t.Fatal("a request succeeded")
			}
			r.WantRefreshes(t, want)
			time.Sleep(time.Minute)
		}
		for range 600 {
			if _, err := r.Get(t.Context()); err == nil {
				t.Fatal("a request succeeded")
			}
			time.Sleep(time.Second)
		}
		// The waits grow to at most a minute, and are 30 s in the mean then.
		if n := r.Server.Counters().Refreshes; n > 2*60 || n < 8 {
			t.Errorf("%d presentations in 10 minutes", n)
		}
		r.Server.FailRefresh(0, tokentest.Fault{})
		time.Sleep(time.Minute)
		r.WantGet(t, 200)
	})
}

// TestLostAnswerTimeout: all who wait are told of the timeout when it is up. The first
// presentation may still be on its way then, so there is no second at once.
func TestLostAnswerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 5 * time.Second
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: time.Hour}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.RefreshTimeout = timeout
		})
		r.Login(t)
		r.Server.RevokeAccess("alice")
		began := time.Now()
		sessiontest.Crowd(10, func() {
			_, err := r.Get(t.Context())
			sessiontest.WantErr(t, "GET", err, context.DeadlineExceeded)
			var te *tokenclient.TokenError
			if !errors.As(err, &te) || !te.Timeout() || !te.Temporary() {
				t.Errorf("error %v, want a timeout", err)
			}
		})
		if took := time.Since(began); took != timeout {
			t.Errorf("it took %v, want %v", took, timeout)
		}
		r.WantRefreshes(t, 1)
		r.Server.Set(func(o *tokentest.Options) { o.Latency = 0 })
		time.Sleep(2 * time.Second) // longer than the first backoff
		r.WantGet(t, 200)
		r.WantRefreshes(t, 2)
	})
}

// TestLostAnswerBreaksOffBehindThePair: the connection breaks when all of the answer is
// there but its end. The pair is not lost.
func TestLostAnswerBreaksOffBehindThePair(t *testing.T) {
	for _, status := range []int{200, 500} {
		r := sessiontest.NewFake(t, nil, func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Authorization") == "Bearer T1" {
				return sessiontest.Reply(req, 200), nil
			}
			return sessiontest.Reply(req, 401), nil
		}, func(c *tokenclient.Config) {
			c.Refresher = &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/refresh", HTTPClient: &http.Client{
				Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
					_, _ = io.Copy(io.Discard, req.Body)
					body := io.MultiReader(strings.NewReader(`{"access_token":"T1","refresh_token":"R1"}`), iotest.ErrReader(io.ErrUnexpectedEOF))
					return &http.Response{StatusCode: status, Request: req, Body: io.NopCloser(body), Header: http.Header{}}, nil
				})}}
		})
		r.Give(t, sessiontest.Pair("T0", "R0", time.Hour))
		if got, err := r.Get(t.Context()); (err == nil && got == 200) != (status == 200) {
			t.Errorf("endpoint's status %d: %d, %v", status, got, err)
		}
	}
}
