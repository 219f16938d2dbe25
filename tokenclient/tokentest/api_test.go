package tokentest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestEcho(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	bearer := "bearer " + srv.Issue("alice").AccessToken // schemes have no case
	body := strings.Repeat("0123456789", 100_000)
	sum := sha256.Sum256([]byte(body))

	r := call(t, srv, "PUT", "/api/a/b?x=1", body, "Authorization", bearer)
	wantStatus(t, "API", r, 200)
	r.wantMembers(t, map[string]string{
		"method": "PUT", "path": "/api/a/b", "subject": "alice",
		"length": strconv.Itoa(len(body)), "sha256": hex.EncodeToString(sum[:]),
	})
	r = call(t, srv, "POST", "/api/?echo=1", body, "Authorization", bearer, "Content-Type", "x/y")
	if r.status != 200 || r.body != body || r.header.Get("Content-Type") != "x/y" {
		t.Errorf("echo: status %d, %d bytes of %s", r.status, len(r.body), r.header.Get("Content-Type"))
	}
	wantStatus(t, "outside of the API", call(t, srv, "GET", "/", "", "Authorization", bearer), 404)
}

func TestChallenges(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	for what, test := range map[string]struct{ authorization, challenge string }{
		"no token":       {"", `Bearer realm="tokentest"`},
		"another scheme": {"Basic eDp5", `Bearer realm="tokentest"`},
		"empty token":    {"Bearer ", `Bearer realm="tokentest"`},
		"unknown token": {"Bearer x",
			`Bearer error="invalid_token", error_description="not an access token of this server"`},
	} {
		r := call(t, srv, "GET", "/api/", "", "Authorization", test.authorization)
		wantStatus(t, what, r, 401)
		if got := r.header.Get("WWW-Authenticate"); got != test.challenge {
			t.Errorf("%s: challenge %s, want %s", what, got, test.challenge)
		}
	}
	if got := srv.Counters(); got.Requests != 4 || got.Unauthorized != 4 {
		t.Errorf("%+v, want 4 requests, 4 unauthorized", got)
	}
}

func TestHeader(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{Header: "X-Auth-Token"})
	access := srv.Issue("alice").AccessToken
	wantStatus(t, "the header", call(t, srv, "GET", "/api/", "", "x-auth-token", access), 200)
	wantStatus(t, "with a scheme", call(t, srv, "GET", "/api/", "", "X-Auth-Token", "Bearer "+access), 401)
	wantStatus(t, "Authorization", get(t, srv, access), 401)
}

func TestReplays(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	for _, id := range []string{"a", "b", "a", "", "", "a"} {
		call(t, srv, "GET", "/api/", "", "X-Request-Id", id)
	}
	call(t, srv, "POST", "/login", "", "X-Request-Id", "a")
	if got := srv.Counters().Replays; got != 2 {
		t.Errorf("%d replays counted, want 2", got)
	}
}

// A countingReader counts how often it is read.
type countingReader struct{ reads atomic.Int64 }

func (r *countingReader) Read(p []byte) (int, error) {
	r.reads.Add(1)
	clear(p)
	return len(p), nil
}

func TestUnauthorizedBeforeTheBody(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	body := &countingReader{}
	req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/api/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 || body.reads.Load() != 0 {
		t.Errorf("status %d after %d reads of the body", resp.StatusCode, body.reads.Load())
	}
}

func TestHold(t *testing.T) {
	inMemory(t, tokentest.Options{}, func(t *testing.T, srv *tokentest.Server) {
		token := srv.Issue("alice")
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		send := func(name string, status int) {
			wg.Go(func() {
				r, err := try(t, srv, "GET", "/api/", "", "Authorization", "Bearer "+token.AccessToken)
				if err != nil || r.status != status {
					t.Errorf("%s: status %d, error %v; want %d", name, r.status, err, status)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
			synctest.Wait()
		}
		want := func(want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(order, " "); got != want {
				t.Errorf("answered: %q, want %q", got, want)
			}
		}

		releaseOne := srv.Hold()
		send("good", 200) // judged now, whatever happens until it is answered
		srv.RevokeAccess("alice")
		releaseTwo := srv.Hold()
		send("late", 401)
		if got := srv.Counters(); got.Requests != 2 || got.Unauthorized != 1 {
			t.Errorf("%+v while answers are held", got)
		}
		wantStatus(t, "token endpoints do not wait", refresh(t, srv, token.RefreshToken), 200)
		want("")
		releaseOne()
		releaseOne()
		want("good")
		releaseTwo()
		want("good late")
		wantStatus(t, "afterwards", get(t, srv, token.AccessToken), 401)

		// A client that leaves ends its wait; a fault waits too.
		release := srv.Hold()
		defer release()
		srv.FailAPI(1, tokentest.Fault{Status: 418})
		send("fault", 418)
		client := srv.Client()
		client.Timeout = time.Minute
		if resp, err := client.Get(srv.URL + "/api/"); err == nil {
			resp.Body.Close()
			t.Error("a held answer came")
		}
		want("good late")
		release()
		want("good late fault")
		wg.Wait()
	})
}
