package behaviour_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestStepUpOfAnAudience: what the API of an audience demands, the one login satisfies: its
// token is asked for anew, and that of the session goes nowhere.
func TestStepUpOfAnAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mail = "http://localhost:2"
		api := &demandingAPI{status: 403, header: demandsScope}
		var asked atomic.Int32
		session, err := tokenclient.New(tokenclient.Config{
			Refresher: sessiontest.Refresher(), Origins: []string{sessiontest.FakeAPI},
			Audiences: []tokenclient.Audience{{
				Name: "mail", Origins: []string{mail},
				Refresher: tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					return &tokenclient.Token{AccessToken: strings.ReplaceAll(old.RefreshToken, "refresh", "mail"), Expiry: time.Now().Add(time.Hour)}, nil
				}),
			}},
			StepUp: func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
				asked.Add(1)
				if d.Origin != mail {
					t.Errorf("demanded by %q", d.Origin)
				}
				time.Sleep(time.Minute)
				return s.SetToken(ctx, sessiontest.Pair("whole-2", "refresh-strong", time.Hour))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sessiontest.Close(t, session)
		if err := session.SetToken(t.Context(), sessiontest.Pair("whole-1", "good-refresh", time.Hour)); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards sent
		sent := make(map[string]int)
		client := session.Wrap(&http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			sent[req.Header.Get("Authorization")]++
			mu.Unlock()
			return api.serve(req)
		})})
		sessiontest.Crowd(20, func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, mail+"/send", strings.NewReader("body"))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(text) != "body!" || err != nil {
				t.Errorf("%d %q %v", resp.StatusCode, text, err)
			}
		})
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if len(sent) != 2 || sent["Bearer good-mail"] != 20 || sent["Bearer mail-strong"] != 20 {
			t.Errorf("sent %v", sent)
		}
	})
}

// TestStepUpNoReplay: what must not be sent twice is not, and the next request has the token.
func TestStepUpNoReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		r := stepUpRig(t, api, "good", loginWith("strong"))
		tr := r.Session.Transport(sessiontest.RoundTrip(api.serve))
		tr.NoReplay = func(*http.Request) bool { return true }
		for i, want := range []int{403, 200} {
			if status, text, err := post(t, t.Context(), &http.Client{Transport: tr}, strings.NewReader("once")); status != want || text != "once!" || err != nil {
				t.Errorf("request %d: %d %q %v, want %d", i, status, text, err, want)
			}
		}
		if api.requests() != 2 {
			t.Errorf("%d requests", api.requests())
		}
	})
}

// TestStepUpHangs: a StepUp that waits for itself, because it drops its context, or for ever,
// holds up nobody without end.
func TestStepUpHangs(t *testing.T) {
	for name, hook := range map[string]func(t *testing.T, client *http.Client) stepUpHook{
		"waits for itself": func(t *testing.T, client *http.Client) stepUpHook {
			return func(context.Context, *tokenclient.Session, tokenclient.Demand) error {
				status, _, err := post(t, context.Background(), client, nil)
				return fmt.Errorf("inside: %d %v", status, err)
			}
		},
		"waits for its context alone": func(*testing.T, *http.Client) stepUpHook {
			return func(ctx context.Context, _ *tokenclient.Session, _ tokenclient.Demand) error {
				<-ctx.Done()
				return ctx.Err()
			}
		},
		"does not look at its context": func(*testing.T, *http.Client) stepUpHook {
			return func(context.Context, *tokenclient.Session, tokenclient.Demand) error {
				time.Sleep(10 * time.Hour)
				return nil
			}
		},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			api := &demandingAPI{status: 403, header: demandsScope}
			var client *http.Client
			r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
				return hook(t, client)(ctx, s, d)
			})
			client = r.Client
			began := time.Now()
			if status, _, err := post(t, context.Background(), client, nil); status != 403 || err != nil {
				t.Errorf("%d %v", status, err)
			}
			if d := time.Since(began); d < 20*time.Minute || d > 20*time.Minute+time.Second {
				t.Errorf("after %v", d)
			}
			time.Sleep(10 * time.Hour) // till all have returned
		})
	}
}

// TestStepUpStorm: a server that demands something else each time has people asked ten times
// in half a minute, and no more.
func TestStepUpStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n, asked atomic.Int32
		serve := func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, 403)
			resp.Header = http.Header{"Www-Authenticate": {fmt.Sprintf(`Bearer error="insufficient_scope", scope="s%d"`, n.Add(1))}}
			return resp, nil
		}
		r := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, serve, func(c *tokenclient.Config) {
			c.StepUp = func(context.Context, *tokenclient.Session, tokenclient.Demand) error {
				asked.Add(1)
				time.Sleep(time.Second)
				return nil
			}
		})
		r.Give(t, sessiontest.Pair("good", "refresh-1", time.Hour))
		sessiontest.Crowd(100, func() {
			if status, _, err := post(t, t.Context(), r.Client, nil); status != 403 || err != nil {
				t.Errorf("%d %v", status, err)
			}
		})
		if n := asked.Load(); n != 10 {
			t.Errorf("asked %d times", n)
		}
	})
}
