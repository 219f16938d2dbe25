package tokentest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// observe collects events.
func observe(srv *tokentest.Server) (events func() []tokentest.Event, stop func()) {
	var mu sync.Mutex
	var all []tokentest.Event
	stop = srv.Observe(func(e tokentest.Event) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, e)
	})
	return func() []tokentest.Event {
		mu.Lock()
		defer mu.Unlock()
		taken := all
		all = nil
		return taken
	}, stop
}

// TestEvents: each request makes one event, which says what became of it and names the tokens
// without telling them; so do methods that make and end tokens.
func TestEvents(t *testing.T) {
	for _, opaque := range []bool{false, true} {
		srv := tokentest.NewServer(t, &tokentest.Options{Opaque: opaque})
		events, stop := observe(srv)
		var secrets []string
		said := ""
		one := func(what string, want tokentest.Event) tokentest.Event {
			t.Helper()
			got := events()
			if len(got) != 1 {
				t.Fatalf("%s: %d events: %+v", what, len(got), got)
			}
			e := got[0]
			said += fmt.Sprintf("%+v\n", e)
			if e.Kind != want.Kind || e.Status != want.Status || e.Reuse != want.Reuse || e.Fault != want.Fault || e.User != want.User ||
				(e.Reason != "") != (want.Reason != "") || e.Number == 0 || e.Began.IsZero() || e.Ended.Before(e.Began) {
				t.Errorf("%s: %+v, want %+v", what, e, want)
			}
			return e
		}
		first := srv.Issue("alice")
		secrets = append(secrets, first.AccessToken, first.RefreshToken)
		issued := one("issue", tokentest.Event{Kind: "issue", User: "alice"})
		if issued.Access.Generation != 1 || issued.Refresh.Generation != 1 || issued.Access.Login != issued.Refresh.Login {
			t.Errorf("%+v", issued)
		}

		// A token that is elsewhere in the request than it should be is not shown either.
		call(t, srv, "GET", "/api/"+first.AccessToken, "", "Authorization", "Bearer "+first.AccessToken, "X-Request-Id", "a", "User-Agent", first.AccessToken)
		asked := one("request", tokentest.Event{Kind: "request", Status: 200, User: "alice"})
		if asked.Presented != issued.Access || asked.Client == "" || asked.Repeats != 0 {
			t.Errorf("%+v", asked)
		}
		srv.RevokeAccess("alice")
		one("revoke access", tokentest.Event{Kind: "revoke access", User: "alice"})
		call(t, srv, "GET", "/api/x", "", "Authorization", "Bearer "+first.AccessToken, "X-Request-Id", "a")
		if e := one("replay", tokentest.Event{Kind: "request", Status: 401, Reason: "x", User: "alice"}); e.Repeats != asked.Number {
			t.Errorf("it repeats %d, want %d", e.Repeats, asked.Number)
		}

		r := refresh(t, srv, first.RefreshToken)
		secrets = append(secrets, r.member("access_token"), r.member("refresh_token"))
		e := one("refresh", tokentest.Event{Kind: "refresh", Status: 200, User: "alice"})
		if e.Presented != issued.Refresh || e.Refresh.Generation != 2 || e.Refresh.Login != issued.Refresh.Login || e.Access.Generation != 2 {
			t.Errorf("%+v", e)
		}
		srv.ExpireAccess()
		one("expire", tokentest.Event{Kind: "expire"})
		get(t, srv, r.member("access_token"))
		if e := one("expired", tokentest.Event{Kind: "request", Status: 401, Reason: "x", User: "alice"}); !strings.Contains(e.Reason, "expired") {
			t.Errorf("%+v", e)
		}
		srv.FailRefresh(1, tokentest.Fault{Cut: true})
		_, _ = try(t, srv, "POST", "/oauth/token", "grant_type=refresh_token&refresh_token="+r.member("refresh_token"), "Content-Type", "application/x-www-form-urlencoded")
		one("cut", tokentest.Event{Kind: "refresh", Status: 0, Fault: true, Reason: "x", User: "alice"})
		postForm(t, srv, "/oauth/token", "grant_type=refresh_token&refresh_token="+first.RefreshToken)
		one("reuse", tokentest.Event{Kind: "refresh", Status: 400, Reason: "x", Reuse: true, User: "alice"})
		postForm(t, srv, "/oauth/revoke", "token="+r.member("refresh_token"))
		one("revocation", tokentest.Event{Kind: "revocation", Status: 200, User: "alice"})
		srv.RevokeAll("bob")
		one("revoke all", tokentest.Event{Kind: "revoke all", User: "bob"})
		call(t, srv, "GET", "/nowhere", "")
		one("other", tokentest.Event{Kind: "other", Status: 404})
		for _, secret := range secrets {
			if secret == "" || strings.Contains(said, secret) || strings.Contains(said, secret[len(secret)-16:]) {
				t.Errorf("a token (%d bytes) is shown, or missing", len(secret))
			}
		}
		stop()
		srv.Issue("alice")
		if got := events(); len(got) != 0 {
			t.Errorf("after stop: %+v", got)
		}
	}
}

// TestEventsOfKinds: the other endpoints, and what a server answers that renews by itself.
func TestEventsOfKinds(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{SlidingHeader: true})
	srv.AddUser("alice", "secret")
	events, _ := observe(srv)
	r := post(t, srv, "/login", map[string]string{"username": "alice", "password": "secret"})
	access := r.member("access_token")
	get(t, srv, access)
	call(t, srv, "POST", "/heartbeat", "", "Authorization", "Bearer "+access)
	post(t, srv, "/login", map[string]string{"username": "alice", "password": "wrong"})
	var got []string
	for _, e := range events() {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Status, " ", e.Access.Generation, " ", e.Refresh.Generation))
	}
	if want := []string{"login 200 1 1", "request 200 2 0", "heartbeat 200 3 0", "login 401 0 0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHandle: what is handled beside the server's own is in no counter, makes no event, and
// ends with the server.
func TestHandle(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	events, _ := observe(srv)
	ended := make(chan struct{})
	srv.Handle("GET /api/special", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	srv.Handle("/wait", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	}))
	wantStatus(t, "handled", call(t, srv, "GET", "/api/special", ""), http.StatusTeapot)
	wantStatus(t, "the server's own", call(t, srv, "GET", "/api/other", ""), http.StatusUnauthorized)
	if got := events(); len(got) != 1 || srv.Counters().Requests != 1 {
		t.Errorf("%+v", got)
	}
	resp, err := srv.Client().Get(srv.URL + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	srv.Close()
	_ = resp.Body.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it waits on")
	}
}
