package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// onceOnly are the requests that cannot be sent a second time, or may not.
var onceOnly = map[string]func(*tokenclient.Transport) io.Reader{
	"NoReplay": func(tr *tokenclient.Transport) io.Reader {
		tr.NoReplay = func(*http.Request) bool { return true }
		return nil
	},
	"a stream that is not kept": func(tr *tokenclient.Transport) io.Reader {
		tr.MaxReplayBody = -1
		return iotest.OneByteReader(strings.NewReader(sessiontest.Payload))
	},
	"a stream longer than what is kept": func(tr *tokenclient.Transport) io.Reader {
		tr.MaxReplayBody = 3
		return iotest.OneByteReader(strings.NewReader(sessiontest.Payload))
	},
}

// put sends a PUT with body, and returns the status.
func put(ctx context.Context, tr http.RoundTripper, url string, body io.Reader) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	if err != nil {
		return 0, err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// What the server refused is not sent again: whoever comes after a 401 that was handed back
// has the new token.
func TestRefusedThenAtOnce(t *testing.T) {
	for name, once := range onceOnly {
		for _, latency := range []time.Duration{0, 10 * time.Second} {
			sessiontest.Bubble(t, fmt.Sprint(name, ", refreshed in ", latency), func(t *testing.T) {
				a := &strictAPI{latency: latency}
				r := a.rig(t, nil)
				for i := range 10 {
					time.Sleep(time.Minute)
					a.revoke()
					for try, want := range []int{401, 200} {
						tr := r.Session.Transport(sessiontest.RoundTrip(a.RoundTrip))
						status, err := put(t.Context(), tr, sessiontest.FakeAPI+"/upload", once(tr))
						if err != nil || status != want {
							t.Fatalf("round %d, try %d: status %d, error %v; want status %d", i, try, status, err, want)
						}
					}
				}
				if got := a.counted(); got != 10 {
					t.Errorf("%d refreshes, want 10", got)
				}
			})
		}
	}
}

// Whoever comes while a refused token is refreshed does not leave with it, if it is going
// where it was refused or cannot be sent again.
func TestRefusedWhileRefreshed(t *testing.T) {
	const n = 20
	for _, tc := range []struct {
		name, path string
		once       bool
		refused    int // of those n
	}{
		{"can be sent again, same endpoint", "/good", false, 0},
		{"can be sent again, other endpoints", "/good/%d", false, n},
		{"cannot be sent again, same endpoint", "/good", true, 0},
		{"cannot be sent again, other endpoints", "/good/%d", true, 0},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			a := &strictAPI{latency: 10 * time.Second}
			r := a.rig(t, nil)
			tr := r.Session.Transport(sessiontest.RoundTrip(a.RoundTrip))
			time.Sleep(time.Minute)
			a.revoke()
			var all sync.WaitGroup
			all.Go(func() {
				if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+"/good"); status != 200 {
					t.Errorf("the first: status %d", status)
				}
			})
			time.Sleep(time.Second)
			if tc.once {
				tr.NoReplay = func(*http.Request) bool { return true }
			}
			for i := range n {
				url := sessiontest.FakeAPI + strings.ReplaceAll(tc.path, "%d", fmt.Sprint(i))
				all.Go(func() {
					if status, err := put(t.Context(), tr, url, nil); status != 200 {
						t.Errorf("status %d, error %v", status, err)
					}
				})
			}
			all.Wait()
			refused := -1 // that of the first
			for _, n := range a.refused {
				refused += n
			}
			if refused != tc.refused || a.refreshes != 1 {
				t.Errorf("%d were refused after it was known that the token is refused, want %d; %d refreshes, want 1", refused, tc.refused, a.refreshes)
			}
		})
	}
}

// An endpoint that always refuses does not hold up the others: what can be sent again goes
// out at once, what cannot waits no longer than the refresh takes or its context lasts, and
// nobody waits when the storm guard has had enough.
func TestRefusedHoldsNobodyUp(t *testing.T) {
	const latency = 10 * time.Second
	for _, tc := range []struct {
		name    string
		once    bool
		timeout time.Duration
		most    time.Duration
		fails   bool
	}{
		{name: "can be sent again", timeout: time.Minute},
		{name: "cannot be sent again", once: true, timeout: time.Minute, most: latency - time.Second},
		{name: "cannot be sent again, and has little time", once: true, timeout: time.Second, most: time.Second, fails: true},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			a := &strictAPI{}
			// The API takes all tokens, but at /bad.
			api := func(req *http.Request) (*http.Response, error) {
				if strings.HasPrefix(req.URL.Path, "/bad") {
					return sessiontest.Reply(req, 401), nil
				}
				return sessiontest.Reply(req, 200), nil
			}
			a.latency = latency
			r := sessiontest.NewFake(t, a.Refresh, api, nil)
			r.Give(t, a.issue())
			tr := r.Session.Transport(sessiontest.RoundTrip(api))
			if tc.once {
				tr.NoReplay = func(*http.Request) bool { return true }
			}
			for i := range 10 {
				var bad sync.WaitGroup
				bad.Go(func() { ask(t.Context(), r.Client, sessiontest.FakeAPI+"/bad") })
				time.Sleep(time.Second)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
				status, err := put(ctx, tr, sessiontest.FakeAPI+"/good", nil)
				cancel()
				most := tc.most
				if i >= 4 {
					most = 0 // the guard is shut
				}
				if took := time.Since(began); took > most {
					t.Errorf("round %d: it took %v, want at most %v", i, took, most)
				}
				if fails := i < 4 && tc.fails; fails != (err != nil) || fails && !errors.Is(err, context.DeadlineExceeded) || !fails && status != 200 {
					t.Errorf("round %d: status %d, error %v", i, status, err)
				}
				bad.Wait()
			}
			if a.refreshes > 4 {
				t.Errorf("%d refreshes", a.refreshes)
			}
		})
	}
}

// If the refresh fails, those who waited are sent with the token that there is, which may
// be good where they go, and nobody waits for the next try.
func TestRefusedAndNotRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			time.Sleep(10 * time.Second)
			return nil, &tokenclient.TokenError{StatusCode: 503, RetryAfter: time.Minute}
		}
		api := func(req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(req.URL.Path, "/bad") {
				return sessiontest.Reply(req, 401), nil
			}
			return sessiontest.Reply(req, 200), nil
		}
		r := sessiontest.NewFake(t, refresh, api, nil)
		r.Give(t, sessiontest.Pair("a", "r", 0))
		tr := r.Session.Transport(sessiontest.RoundTrip(api))
		tr.NoReplay = func(*http.Request) bool { return true }
		for round, want := range []time.Duration{10 * time.Second, 0, 0} {
			if status, err := put(t.Context(), tr, sessiontest.FakeAPI+"/bad", nil); status != 401 {
				t.Errorf("status %d, error %v", status, err)
			}
			began := time.Now()
			status, err := put(t.Context(), tr, sessiontest.FakeAPI+"/good", nil)
			if took := time.Since(began); status != 200 || took != want {
				t.Errorf("round %d: status %d, error %v, after %v; want 200 after %v", round, status, err, took, want)
			}
		}
	})
}

// Session.Token hands out no token that is known to be refused.
func TestRefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &strictAPI{latency: 10 * time.Second}
		r := a.rig(t, nil)
		time.Sleep(time.Minute)
		a.revoke()
		tr := r.Session.Transport(sessiontest.RoundTrip(a.RoundTrip))
		tr.NoReplay = func(*http.Request) bool { return true }
		if status, err := put(t.Context(), tr, sessiontest.FakeAPI+"/good", nil); status != 401 {
			t.Errorf("status %d, error %v", status, err)
		}
		if token, err := r.Session.Token(t.Context()); err != nil || token.AccessToken != "access-3" {
			t.Errorf("token %v, error %v: want the third", token, err)
		}
	})
}

// standStill is a store whose holder stands still.
type standStill struct {
	store.Memory
	moves chan struct{}
}

func (s *standStill) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	select {
	case <-s.moves:
	case <-ctx.Done():
		return tokenclient.Record{}, ctx.Err()
	}
	return s.Memory.Refresh(ctx, key, seen, timeout, fn)
}

// However many requests were refused that cannot be sent again, one goroutine waits for
// the refresh.
func TestRefusedTakesOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		a, kept := &strictAPI{answer: time.Second}, &standStill{moves: make(chan struct{})}
		r := a.rig(t, func(c *tokenclient.Config) { c.Store, c.Key = kept, "alice" })
		time.Sleep(time.Minute)
		a.revoke()
		tr := r.Session.Transport(sessiontest.RoundTrip(a.RoundTrip))
		tr.NoReplay = func(*http.Request) bool { return true }
		before := runtime.NumGoroutine()
		sessiontest.Crowd(n, func() {
			if status, err := put(t.Context(), tr, sessiontest.FakeAPI+"/good", nil); status != 401 {
				t.Errorf("status %d, error %v", status, err)
			}
		})
		synctest.Wait()
		if got := runtime.NumGoroutine() - before; got > 5 {
			t.Errorf("%d goroutines more, after %d requests", got, n)
		}
		close(kept.moves)
		if status, err := put(t.Context(), tr, sessiontest.FakeAPI+"/good", nil); status != 200 {
			t.Errorf("status %d, error %v", status, err)
		}
		if a.refreshes != 1 {
			t.Errorf("%d refreshes", a.refreshes)
		}
	})
}
