package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"200 users logged in. Access tokens live for 6s here.",
		"room for 100 idle sessions: 100 live, 200 loads, 100 evicted.",
		"Each answer was the sender's own.",
		"a stranger without a cookie were told to log in.",
		"The token endpoint is down",
		"Nobody noticed",
		"user-000 is told to try later, and not to log in.",
		"The token endpoint is back.",
		"All sent a request, and were refreshed first.",
		"The server counted 200 refreshes for 200 users, reuses 0, 401s 0.",
		"user-001 logged out, and user-002 did not.",
		"room for 100 idle sessions: ",
	},
	Secrets: []string{"eyJ"},
	Varies:  []string{`^ *\d+\.\d s`, `\d+ live, \d+ loads, \d+ evicted`},
	Sleeps:  true,
}

func TestStory(t *testing.T) { told.Test(t) }

// TestBrowserHasNoSay: neither a browser's cookie nor an Authorization of its own
// choice gets to the API.
func TestBrowserHasNoSay(t *testing.T) {
	api := tokentest.NewServer(t, nil)
	pool, err := newPool(api.URL, new(store.Memory), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pool.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	to, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	session, err := pool.Session(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := session.SetToken(t.Context(), api.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	var sent http.Header
	base := roundTrip(func(req *http.Request) (*http.Response, error) {
		sent = req.Header
		return http.DefaultTransport.RoundTrip(req)
	})
	gateway := newGateway(to, pool, base, func(*http.Request) string { return "alice" })
	req := httptest.NewRequest(http.MethodGet, "/api/me", nil)
	req.Header.Set("Authorization", "Bearer "+api.Issue("mallory").AccessToken)
	req.Header.Set("Cookie", "user=alice")
	answer := httptest.NewRecorder()
	gateway.ServeHTTP(answer, req)
	if answer.Code != 200 || !strings.Contains(answer.Body.String(), `"subject":"alice"`) {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if sent.Get("Cookie") != "" {
		t.Error("the gateway's cookie went to the API")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
