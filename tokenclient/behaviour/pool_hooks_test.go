package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPoolForKey: of hooks that all users share, those that are told no RefreshInfo learn by
// ForKey whose session it is, in the order in which things happened.
func TestPoolForKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		told := map[string][]string{}
		tell := func(key, what string) {
			mu.Lock()
			defer mu.Unlock()
			told[key] = append(told[key], what)
		}
		never := func(tokenclient.RefreshInfo) { t.Error("ForKey's hooks are told what has a RefreshInfo") }
		hooks := &tokenclient.Hooks{
			Rejected: func(string, string) { tell("anybody", "rejected") },
			ForKey: func(key string) *tokenclient.Hooks {
				if key == "nobody" {
					return nil
				}
				return &tokenclient.Hooks{
					Attached:     func(context.Context, uint64) { t.Error("ForKey's Attached is called") },
					Refreshed:    never,
					Rejected:     func(method, _ string) { tell(key, "rejected "+method) },
					Replayed:     func(method, _ string) { tell(key, "replayed "+method) },
					NotInOrigins: func(origin, _, _ string) { tell(key, "not in origins "+origin) },
					HeaderKept:   func(_, header string) { tell(key, "kept "+header) },
					SessionEnded: func(err error) {
						if !errors.Is(err, tokenclient.ErrLoggedOut) {
							t.Error(err)
						}
						tell(key, "ended")
					},
				}
			},
		}
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: &sessiontest.PoolStore{Known: sessiontest.Everybody},
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{
					Refresher: tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						return fresh(old), nil
					}),
					Hooks: hooks, Origins: []string{sessiontest.FakeAPI},
				}, nil
			},
		}, nil)
		client := p.Wrap(&http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Authorization") == "Bearer access-"+tokenclient.KeyFrom(req.Context()) {
				return sessiontest.Reply(req, 401), nil
			}
			return sessiontest.Reply(req, 200), nil
		})})
		send := func(key, url string, change func(*http.Request)) {
			req, err := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), key), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			change(req)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			synctest.Wait()
		}
		asItIs := func(*http.Request) {}
		for _, key := range []string{"alice", "bob", "nobody"} {
			send(key, sessiontest.FakeAPI, asItIs)
		}
		send("bob", "https://elsewhere.example.com/", asItIs)
		send("bob", sessiontest.FakeAPI, func(req *http.Request) { req.SetBasicAuth("planted", "planted") })
		if err := sessionOf(t, p, "alice").Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for key, want := range map[string][]string{
			"anybody": {"rejected", "rejected", "rejected"},
			"alice":   {"rejected GET", "replayed GET", "ended"},
			"bob":     {"rejected GET", "replayed GET", "not in origins https://elsewhere.example.com:443", "kept Authorization"},
			"nobody":  nil,
		} {
			if !slices.Equal(told[key], want) {
				t.Errorf("%s: %q, want %q", key, told[key], want)
			}
		}
	})
}

// TestForKeyOfAudience: ForKey is asked by the user's key, whichever of the user's tokens was rejected.
func TestForKeyOfAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := make(chan string, 4)
		serve := func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Authorization") == "Bearer audience" {
				return sessiontest.Reply(req, 401), nil
			}
			return sessiontest.Reply(req, 200), nil
		}
		refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return sessiontest.Pair("audience-refreshed", "", time.Hour), nil
		}
		r := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, serve, func(c *tokenclient.Config) {
			c.Key, c.Store = "alice", &sessiontest.PoolStore{Known: sessiontest.Everybody}
			c.Audiences = []tokenclient.Audience{{Name: "a", Origins: []string{"https://audience.example.com"}, Refresher: tokenclient.RefresherFunc(refresh)}}
			c.Hooks = &tokenclient.Hooks{ForKey: func(key string) *tokenclient.Hooks {
				return &tokenclient.Hooks{Rejected: func(string, string) { keys <- key }}
			}}
		})
		login := sessiontest.Pair("good", "refresh-1", time.Hour)
		login.Audiences = map[string]tokenclient.AudienceToken{"a": {Token: sessiontest.Pair("audience", "", time.Hour)}}
		r.Give(t, login)
		resp, err := r.Client.Get("https://audience.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		synctest.Wait()
		close(keys)
		if key := <-keys; resp.StatusCode != 200 || key != "alice" {
			t.Errorf("%d, for %q", resp.StatusCode, key)
		}
	})
}
