package tokentest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestFailRefresh(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault tokentest.Fault
		want  int // 0: no answer
	}{
		{"zero", tokentest.Fault{}, 500},
		{"status", tokentest.Fault{Status: 503, Header: http.Header{"Retry-After": {"7"}}}, 503},
		{"HTML", tokentest.Fault{Status: 502, Body: "<html>Bad Gateway</html>"}, 502},
		{"truncated JSON", tokentest.Fault{Status: 200, Body: `{"access_token":"ey`}, 200},
		{"ten MiB", tokentest.Fault{Status: 200, Body: strings.Repeat("x", 10<<20)}, 200},
		{"redirect", tokentest.Fault{Status: 307, Header: http.Header{"Location": {"/api/x"}}}, 307},
		{"cut", tokentest.Fault{Cut: true}, 0},
		{"cut in the body", tokentest.Fault{Cut: true, Status: 200, Body: `{"access_token":"ey`}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, afterCommit := range []bool{false, true} {
				srv := tokentest.NewServer(t, nil)
				token := srv.Issue("alice")
				test.fault.AfterCommit = afterCommit
				srv.FailRefresh(1, test.fault)
				r, err := try(t, srv, "POST", "/token/refresh", `{"refresh_token":"`+token.RefreshToken+`"}`)
				if r.status != test.want || (err != nil) != test.fault.Cut {
					t.Errorf("after commit %v: status %d, error %v", afterCommit, r.status, err)
				}
				if r.body != test.fault.Body {
					t.Errorf("after commit %v: %d bytes of body, want %d", afterCommit, len(r.body), len(test.fault.Body))
				}
				for name := range test.fault.Header {
					if r.header.Get(name) != test.fault.Header.Get(name) {
						t.Errorf("header %s is %q", name, r.header.Get(name))
					}
				}
				if test.fault.Cut && test.fault.Body != "" && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the body ended with %v", err)
				}
				want, reuses := 200, 0
				if afterCommit {
					want, reuses = 401, 1
				}
				wantStatus(t, "the same token again", refresh(t, srv, token.RefreshToken), want)
				if got := srv.Counters(); got.Refreshes != 2 || got.Reuses != reuses {
					t.Errorf("after commit %v: %+v", afterCommit, got)
				}
			}
		})
	}
}

func TestFaultsQueue(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	srv.FailRefresh(2, tokentest.Fault{Status: 502})
	srv.FailRefresh(1, tokentest.Fault{Status: 503})
	statuses := func(n int) (got []int) {
		for i := range n {
			if i%2 == 0 { // both protocols take from one list
				got = append(got, refresh(t, srv, "x").status)
			} else {
				got = append(got, postForm(t, srv, "/oauth/token", "grant_type=refresh_token&refresh_token=x").status)
			}
		}
		return got
	}
	want := func(got []int, want ...int) {
		t.Helper()
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("statuses %v, want %v", got, want)
				return
			}
		}
	}
	wantStatus(t, "another grant", postForm(t, srv, "/oauth/token", "grant_type=x"), 400)
	wantStatus(t, "login", call(t, srv, "POST", "/login", ""), 400)
	wantStatus(t, "revocation", postForm(t, srv, "/oauth/revoke", "token=x"), 200)
	want(statuses(4), 502, 502, 503, 400)
	srv.FailRefresh(-1, tokentest.Fault{})
	srv.FailRefresh(1, tokentest.Fault{Status: 503})
	want(statuses(3), 500, 500, 500)
	srv.FailRefresh(0, tokentest.Fault{})
	want(statuses(2), 401, 400)
}

// TestFailRefreshOfASession is what FailRefresh and Fault say of a session: which faults
// it gets over by a second call, and which the program sees after the first.
func TestFailRefreshOfASession(t *testing.T) {
	retryAfter := http.Header{"Retry-After": {"1"}}
	const unseen, seen, ended = "200 OK", "try again later", "log in again"
	for _, test := range []struct {
		name  string
		n     int
		fault tokentest.Fault
		calls int
		want  string
	}{
		{"zero", 1, tokentest.Fault{}, 2, unseen},
		{"503", 1, tokentest.Fault{Status: 503}, 2, unseen},
		{"503 twice", 2, tokentest.Fault{Status: 503}, 2, seen},
		{"503 until told otherwise", -1, tokentest.Fault{Status: 503}, 2, seen},
		{"503 with Retry-After", 1, tokentest.Fault{Status: 503, Header: retryAfter}, 1, seen},
		{"429", 1, tokentest.Fault{Status: 429}, 1, seen},
		{"400", 1, tokentest.Fault{Status: 400}, 1, seen},
		{"cut", 1, tokentest.Fault{Cut: true}, 2, unseen},
		{"cut in the body", 1, tokentest.Fault{Cut: true, Status: 200, Body: `{"access_token":"ey`}, 2, unseen},
		{"truncated JSON", 1, tokentest.Fault{Status: 200, Body: `{"access_token":"ey`}, 1, seen},
		{"a page", 1, tokentest.Fault{Status: 200, Body: "<html>"}, 1, seen},
		{"503, token spent", 1, tokentest.Fault{Status: 503, AfterCommit: true}, 2, ended},
		{"cut, token spent", 1, tokentest.Fault{Cut: true, AfterCommit: true}, 2, ended},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, tokentest.Options{}, func(t *testing.T, srv *tokentest.Server) {
				session, err := tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}})
				if err != nil {
					t.Fatal(err)
				}
				defer session.Close(t.Context())
				if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
					t.Fatal(err)
				}
				srv.RevokeAccess("alice")
				srv.FailRefresh(test.n, test.fault)
				got := fetch(srv, session)
				calls := srv.Counters().Refreshes
				if got != test.want || calls != test.calls {
					t.Errorf("%q after %d calls, want %q after %d", got, calls, test.want, test.calls)
				}
				if got != seen {
					return
				}
				srv.FailRefresh(0, tokentest.Fault{})
				if again := fetch(srv, session); again != seen || srv.Counters().Refreshes != calls {
					t.Errorf("then at once %q, want it to wait", again)
				}
				if _, err := session.Refresh(t.Context()); err != nil || fetch(srv, session) != unseen {
					t.Errorf("then Session.Refresh: %v", err)
				}
			})
		})
	}
}

func TestFailAPI(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	access := srv.Issue("alice").AccessToken
	srv.FailAPI(1, tokentest.Fault{Status: 401, Body: "no"})
	r := get(t, srv, access)
	wantStatus(t, "a 401 for a good token", r, 401)
	if r.body != "no" || r.header.Get("WWW-Authenticate") != "" {
		t.Errorf("body %q, header %v", r.body, r.header)
	}
	wantStatus(t, "afterwards", get(t, srv, access), 200)

	srv.FailAPI(2, tokentest.Fault{Cut: true, Status: 401})
	for _, method := range []string{"POST", "PATCH"} { // net/http repeats a GET by itself
		if r, err := try(t, srv, method, "/api/x", "body"); err == nil {
			t.Errorf("an answer %v over a cut connection", r)
		}
	}

	srv.FailAPI(1, tokentest.Fault{Status: 503, AfterCommit: true})
	wantStatus(t, "after the body was read", call(t, srv, "POST", "/api/x", strings.Repeat("x", 1<<20)), 503)
	if got := srv.Counters(); got.Requests != 5 || got.Unauthorized != 1 {
		t.Errorf("%+v, want 5 requests and 1 unauthorized", got)
	}
}
