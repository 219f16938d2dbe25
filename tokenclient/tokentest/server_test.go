package tokentest_test

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestStart(t *testing.T) {
	start := func(l net.Listener, o *tokentest.Options) *tokentest.Server {
		srv, err := tokentest.Start(l, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		return srv
	}
	loopback := listen(t, "127.0.0.1:0")
	for what, test := range map[string]struct {
		srv *tokentest.Server
		url string
	}{
		"no listener": {start(nil, nil), "http://127.0.0.1:"},
		"in memory":   {start(nil, &tokentest.Options{InMemory: true}), "http://localhost:"},
		"a listener":  {start(loopback, nil), "http://" + loopback.Addr().String()},
		"a wildcard":  {start(listen(t, ":0"), nil), "http://localhost:"},
	} {
		if !strings.HasPrefix(test.srv.URL, test.url) {
			t.Errorf("%s: URL %s, want %s", what, test.srv.URL, test.url)
		}
		wantStatus(t, what, get(t, test.srv, test.srv.Issue("alice").AccessToken), 200)
	}
	if _, err := tokentest.Start(loopback, &tokentest.Options{InMemory: true}); err == nil {
		t.Error("a listener and InMemory together are no error")
	}
}

func TestMemoryNetworksAreApart(t *testing.T) {
	one := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
	two := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
	if resp, err := one.Client().Get(two.URL + "/api/"); err == nil {
		resp.Body.Close()
		t.Error("one server's client reached another server")
	}
	if got := one.Counters().Requests + two.Counters().Requests; got != 0 {
		t.Errorf("%d requests arrived", got)
	}
}

func TestWiring(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: inMemory})
		srv.AddUser("alice", "secret")
		token, err := srv.PasswordLogin().Login(t.Context(), "alice", "secret")
		if err != nil {
			t.Fatal(err)
		}
		secret := srv.OAuth2Refresher()
		srv.Set(func(o *tokentest.Options) { o.ClientSecret = "a:b" })
		if _, err := secret.Refresh(t.Context(), token); err == nil {
			t.Error("a public client was let in")
		}
		for _, r := range []tokenclient.Refresher{srv.JSONRefresher(), srv.OAuth2Refresher()} {
			old := token
			if token, err = r.Refresh(t.Context(), old); err != nil {
				t.Fatalf("%T: %v", r, err)
			}
			wantStatus(t, fmt.Sprintf("API after %T", r), get(t, srv, token.AccessToken), 200)
		}
		if err := srv.OAuth2Refresher().Revoke(t.Context(), token); err != nil {
			t.Error(err)
		}
		wantStatus(t, "API after Revoke", get(t, srv, token.AccessToken), 401)
		want := tokentest.Counters{Logins: 1, Refreshes: 3, Revocations: 1, Requests: 3, Unauthorized: 1}
		if got := srv.Counters(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestClientsAreApart(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	one, two := srv.Client(), srv.Client()
	one.Timeout = time.Second
	if two.Timeout != 0 {
		t.Error("a change to one client changed another")
	}
	if transport := one.Transport.(*http.Transport); transport.ExpectContinueTimeout != time.Second {
		t.Errorf("ExpectContinueTimeout is %v", transport.ExpectContinueTimeout)
	}
}

// closeWhileHeld calls Close so many times at once while requests wait, and returns when
// all have ended.
func closeWhileHeld(t *testing.T, srv *tokentest.Server, times int) (release func()) {
	t.Helper()
	access := srv.Issue("alice").AccessToken
	release = srv.Hold()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if r, err := try(t, srv, "GET", "/api/", "", "Authorization", "Bearer "+access); err == nil {
				t.Errorf("a closed server answered %v", r)
			}
		})
	}
	for srv.Counters().Requests < 10 {
		runtime.Gosched()
	}
	for range times {
		wg.Go(srv.Close)
	}
	wg.Wait()
	return release
}

func TestClose(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		synced := func(f func(*testing.T)) { f(t) }
		if inMemory {
			synced = func(f func(*testing.T)) { synctest.Test(t, f) }
		}
		synced(func(t *testing.T) {
			srv := tokentest.NewServer(t, &tokentest.Options{InMemory: inMemory})
			release := closeWhileHeld(t, srv, 3)
			release()
			srv.Close()
			if r, err := try(t, srv, "GET", "/api/", ""); err == nil {
				t.Errorf("a closed server answered %v", r)
			}
		})
	}
}

// An upload that is refused early makes net/http wait half a second before it
// closes the connection. A bubble must not end before that.
func TestCloseAfterRefusedUpload(t *testing.T) {
	inMemory(t, tokentest.Options{}, func(t *testing.T, srv *tokentest.Server) {
		body := strings.Repeat("x", 4<<20)
		r, err := try(t, srv, "POST", "/api/", body)
		if err != nil || r.status != 401 {
			t.Errorf("status %d, error %v", r.status, err)
		}
	})
}

func TestConcurrentRequests(t *testing.T) {
	const n = 1000
	srv := tokentest.NewServer(t, &tokentest.Options{ReuseGrace: time.Hour})
	srv.AddUser("user", "secret")
	client := srv.Client()
	spent := srv.Issue("user").RefreshToken
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			user := fmt.Sprintf("user%d", i)
			token := srv.Issue(user)
			req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/api/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+token.AccessToken)
			req.Header.Set("X-Request-Id", user)
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("%s: status %d", user, resp.StatusCode)
			}
			switch i % 10 { // everything else at the same time
			case 0:
				srv.Set(func(o *tokentest.Options) { o.Milliseconds = !o.Milliseconds })
			case 1:
				srv.RevokeAccess(user)
			case 2:
				srv.Hold()()
			case 3:
				srv.FailRefresh(1, tokentest.Fault{Status: 503})
			case 4:
				_, _ = try(t, srv, "POST", "/token/refresh", `{"refresh_token":"`+spent+`"}`)
			case 5:
				srv.RevokeAll(user)
			case 6:
				srv.AddUser(user, "secret")
			}
		})
	}
	wg.Wait()
	if got := srv.Counters(); got.Requests != n || got.Unauthorized != 0 || got.Replays != 0 ||
		got.Refreshes != n/10 || got.Reuses != 0 {
		t.Errorf("%+v", got)
	}
}
