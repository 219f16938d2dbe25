package behaviour_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// strictAPI is an API and its token endpoint. It takes the newest token alone, and refuses
// all that is asked of a path that begins with "/bad".
type strictAPI struct {
	uses    int           // how often an access token is accepted; 0: for ever
	latency time.Duration // of refreshes: they take effect half way
	answer  time.Duration // of the API: requests are judged half way

	mu        sync.Mutex // guards the rest
	issued    int        // tokens so far
	used      int        // how often the newest was accepted
	refreshes int
	sendings  map[string]int // by path
	refused   map[string]int // of them
}

// issue makes a token that is valid in the place of those before.
func (a *strictAPI) issue() *tokenclient.Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued++
	a.used = 0
	return sessiontest.Pair(fmt.Sprint("access-", a.issued), fmt.Sprint("refresh-", a.issued), 0)
}

// revoke makes the newest token invalid.
func (a *strictAPI) revoke() { a.issue() }

// Refresh implements tokenclient.Refresher.
func (a *strictAPI) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	a.mu.Lock()
	a.refreshes++
	a.mu.Unlock()
	time.Sleep(a.latency / 2)
	t := a.issue()
	time.Sleep(a.latency / 2)
	return t, nil
}

// RoundTrip implements http.RoundTripper.
func (a *strictAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	time.Sleep(a.answer / 2)
	status := a.judge(req.URL.Path, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	time.Sleep(a.answer / 2)
	return sessiontest.Reply(req, status), nil
}

func (a *strictAPI) judge(path, token string) (status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sendings == nil {
		a.sendings, a.refused = make(map[string]int), make(map[string]int)
	}
	a.sendings[path]++
	if strings.HasPrefix(path, "/bad") || token != fmt.Sprint("access-", a.issued) || a.uses > 0 && a.used == a.uses {
		a.refused[path]++
		return http.StatusUnauthorized
	}
	a.used++
	return http.StatusOK
}

// counted returns how many refreshes there were.
func (a *strictAPI) counted() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refreshes
}

// rig is a session that has a token of a's.
func (a *strictAPI) rig(t *testing.T, change func(*tokenclient.Config)) *sessiontest.Rig {
	t.Helper()
	r := sessiontest.NewFake(t, a.Refresh, a.RoundTrip, change)
	r.Give(t, a.issue())
	return r
}

// ask sends a request for url and returns the status, 0 if there was an error.
func ask(ctx context.Context, c *http.Client, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// A refresh that helped costs nothing, however often it has to be: the server refuses each
// token soon after it has accepted it.
func TestStormHelped(t *testing.T) {
	for _, tc := range []struct {
		name   string
		uses   int
		every  time.Duration // between requests
		revoke int           // after so many requests the token is revoked; 0: never
	}{
		{name: "tokens that are good for one call", uses: 1},
		{name: "tokens that are good for one call, ten a second", uses: 1, every: 100 * time.Millisecond},
		{name: "tokens that are good for two calls", uses: 2},
		{name: "four revocations in a second", revoke: 1, every: 250 * time.Millisecond},
		{name: "opaque tokens that live for 10 seconds", revoke: 10, every: time.Second},
		{name: "opaque tokens that live for 29 seconds", revoke: 29, every: time.Second},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			const n = 200
			a := &strictAPI{uses: tc.uses}
			r := a.rig(t, nil)
			for i := range n {
				if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+fmt.Sprint("/good/", i)); status != 200 {
					t.Fatalf("request %d: status %d", i, status)
				}
				time.Sleep(tc.every)
				if tc.revoke > 0 && i%tc.revoke == tc.revoke-1 {
					a.revoke()
				}
			}
			want := (n - 1) / max(tc.uses, tc.revoke)
			if got := a.counted(); got != want {
				t.Errorf("%d refreshes, want %d", got, want)
			}
		})
	}
}

// What refuses everything is bounded, whatever stands beside it: refreshes that help others
// do not pay for it.
func TestStormHelpedBesideRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		bad  string // the URL of what refuses everything
		uses int
		most int // refreshes beside those that the other endpoint asks for
	}{
		{name: "alone", bad: sessiontest.FakeAPI + "/bad", most: 6},
		{name: "one call, another path", bad: sessiontest.FakeAPI + "/bad", uses: 1, most: 6},
		{name: "one call, another origin", bad: "http://localhost:2/bad", uses: 1, most: 6},
		{name: "two calls, another path", bad: sessiontest.FakeAPI + "/bad", uses: 2, most: 6},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			const n = 200
			a := &strictAPI{uses: tc.uses}
			r := a.rig(t, func(c *tokenclient.Config) { c.Origins = append(c.Origins, "http://localhost:2") })
			helped := 0
			for range n {
				before := a.counted()
				if ask(t.Context(), r.Client, sessiontest.FakeAPI+"/good") == 200 {
					helped += a.counted() - before
				}
				if status := ask(t.Context(), r.Client, tc.bad); status != 401 {
					t.Fatalf("status %d of what refuses everything", status)
				}
			}
			if vain := a.counted() - helped; vain > tc.most || vain < 1 {
				t.Errorf("%d refreshes in vain, beside %d that helped; want at most %d", vain, helped, tc.most)
			}
		})
	}
}

// Each refresh makes the server refuse what is under way with the token before. Those
// requests are sent again, and accepted; but it was not for them that it was refreshed.
func TestStormHelpedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &strictAPI{latency: 200 * time.Millisecond, answer: 300 * time.Millisecond}
		r := a.rig(t, nil)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 30 * time.Millisecond)
				for ctx.Err() == nil {
					if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+fmt.Sprint("/good/", i)); status != 200 {
						t.Errorf("status %d", status)
					}
				}
			})
		}
		for range 60 {
			if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+"/bad"); status != 401 {
				t.Errorf("status %d of what refuses everything", status)
			}
		}
		stop()
		all.Wait()
		if got := a.counted(); got > 6 {
			t.Errorf("%d refreshes, want at most 6", got)
		}
	})
}
