package tokentest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestSlidingHeader: each accepted answer has another token; each token is accepted
// until its own expiry, and after the last one there is none.
func TestSlidingHeader(t *testing.T) {
	for name, tc := range map[string]struct{ header, scheme, answer string }{
		"Authorization": {"", "Bearer ", "Authorization"},
		"a header":      {"x-auth-token", "", "X-Auth-Token"},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, tokentest.Options{SlidingHeader: true, Header: tc.header}, func(t *testing.T, srv *tokentest.Server) {
				send := func(token string) reply {
					t.Helper()
					return call(t, srv, "GET", "/api/", "", tc.answer, tc.scheme+token)
				}
				first := srv.Issue("alice").AccessToken
				token := first
				for range 5 {
					r := send(token)
					wantStatus(t, "with the newest token", r, 200)
					next := r.header.Get(tc.answer)
					if next == "" || next == token {
						t.Fatalf("renewed token %q", next)
					}
					wantStatus(t, "with the one before", send(token), 200)
					token = next
					time.Sleep(10 * time.Minute)
				}
				r := send(first)
				wantStatus(t, "with the first token", r, 401)
				if got := r.header.Get(tc.answer); got != "" {
					t.Error("a 401 has a renewed token")
				}
				wantStatus(t, "with the newest token", send(token), 200)
				time.Sleep(5 * time.Minute)
				wantStatus(t, "after the slide", send(token), 401)
				if c := srv.Counters(); c.Renewals != 11 || c.Requests != 13 || c.Unauthorized != 2 {
					t.Errorf("%+v", c)
				}

				// The knob can be turned, a fault has no token, and a family ends as
				// a whole.
				token = send(srv.Issue("alice").AccessToken).header.Get(tc.answer)
				srv.FailAPI(1, tokentest.Fault{Status: 200})
				if send(token).header.Get(tc.answer) != "" {
					t.Error("a fault has a renewed token")
				}
				srv.RevokeAll("alice")
				wantStatus(t, "of a revoked family", send(token), 401)
				srv.Set(func(o *tokentest.Options) { o.SlidingHeader = false })
				if send(srv.Issue("alice").AccessToken).header.Get(tc.answer) != "" {
					t.Error("renewed without SlidingHeader")
				}
			})
		})
	}
}

// TestSlidingHold: the token of an answer that is held back is as old as the
// request.
func TestSlidingHold(t *testing.T) {
	inMemory(t, tokentest.Options{SlidingHeader: true}, func(t *testing.T, srv *tokentest.Server) {
		release := srv.Hold()
		time.AfterFunc(14*time.Minute, release)
		r := get(t, srv, srv.Issue("alice").AccessToken)
		token := r.header.Get("Authorization")
		wantStatus(t, "at once", get(t, srv, token), 200)
		time.Sleep(time.Minute)
		wantStatus(t, "15 minutes after the request", get(t, srv, token), 401)
		synctest.Wait()
	})
}

func TestHeartbeat(t *testing.T) {
	inMemory(t, tokentest.Options{Header: "X-Auth-Token", Latency: time.Second}, func(t *testing.T, srv *tokentest.Server) {
		beat := func(token string) reply { return call(t, srv, "POST", "/heartbeat", "{}", "X-Auth-Token", token) }
		token := srv.Issue("alice").AccessToken
		for range 5 {
			r := beat(token)
			wantStatus(t, "heartbeat", r, 200)
			if r.member("expires_in") != "900" || r.member("refresh_token") != "" || r.header.Get("X-Auth-Token") != "" {
				t.Errorf("body %s, header %v", r.body, r.header)
			}
			wantStatus(t, "the old token", call(t, srv, "GET", "/api/", "", "X-Auth-Token", token), 200)
			token = r.member("access_token")
			time.Sleep(10 * time.Minute)
		}
		srv.FailRefresh(1, tokentest.Fault{Status: 503})
		wantStatus(t, "a fault", beat(token), 503)
		time.Sleep(5 * time.Minute)
		wantError(t, "after expiry", beat(token), 401, "invalid_token")
		wantError(t, "without a token", beat(""), 401, "invalid_token")
		wantError(t, "a refresh token", beat(srv.Issue("alice").RefreshToken), 401, "invalid_token")
		wantStatus(t, "GET", call(t, srv, "GET", "/heartbeat", ""), 405)
		if c := srv.Counters(); c.Heartbeats != 9 || c.Refreshes != 0 || c.Unauthorized != 0 || c.Renewals != 0 {
			t.Errorf("%+v", c)
		}
	})
}
