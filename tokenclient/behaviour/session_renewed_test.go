package behaviour_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestSliding: a session lives through 20 slides under 50 callers, with at most one
// write to the store for each renewal.
func TestSliding(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change sessiontest.Change
	}{
		{"no Refresher", nil},
		{"Refresher", func(c *tokenclient.Config, srv *tokentest.Server) { c.Refresher = srv.JSONRefresher() }},
		{"heartbeat", func(c *tokenclient.Config, srv *tokentest.Server) { c.Refresher = heartbeat(srv) }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			const slides, callers = 20, 50
			r := newSlidingRig(t, tokentest.Options{}, tc.change)
			for range slides {
				time.Sleep(10 * time.Minute) // of 15
				r.WantGets(t, callers, 200)
			}
			synctest.Wait()
			c, writes, adopted := r.Server.Counters(), int(r.store.writes.Load()), int(r.adopted.Load())
			if c.Requests != slides*callers || c.Unauthorized != 0 || c.Logins+c.Refreshes+c.Heartbeats != 0 {
				t.Errorf("%+v", c)
			}
			if adopted < slides || adopted > c.Renewals || writes > adopted {
				t.Errorf("%d renewals sent, %d adopted, %d writes", c.Renewals, adopted, writes)
			}
			t.Logf("counts: %d renewals sent, %d adopted, %d writes", c.Renewals, adopted, writes)
			r.wantStored(t, uint64(writes+1))

			time.Sleep(15 * time.Minute) // the slide ends
			if tc.change == nil {
				r.WantGet(t, 401)
			}
		})
	}
}

// heartbeat is a Refresher that sends the access token alone.
func heartbeat(srv *tokentest.Server) *tokenclient.JSONRefresher {
	return &tokenclient.JSONRefresher{
		TokenURL: srv.URL + "/heartbeat", HTTPClient: srv.Client(), Attacher: tokenclient.HeaderAttacher(slidingHeader),
	}
}

// TestSlidingFasterThanTheStore: renewals that come while one is written are
// written together, and the newest is stored in the end.
func TestSlidingFasterThanTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, nil)
		r.store.slow = time.Minute
		for range 600 {
			r.WantGet(t, 200)
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Minute)
		writes, adopted := int(r.store.writes.Load()), int(r.adopted.Load())
		if adopted != 600 || writes < 10 || writes > 12 {
			t.Errorf("%d renewals adopted, %d writes; want 600, 10 to 12", adopted, writes)
		}
		r.wantStored(t, uint64(writes+1))
	})
}

// TestSlidingWithoutStore: nothing is saved, and everything works.
func TestSlidingWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Store, c.Key = nil, ""
			c.Refresher = heartbeat(srv)
		})
		for range 20 {
			time.Sleep(10 * time.Minute)
			r.WantGet(t, 200)
		}
		// The newest token is presented, and not the one of the login.
		if _, err := r.Session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		r.WantGet(t, 200)
		r.Logout(t)
		_, err := r.Get(t.Context())
		sessiontest.WantErr(t, "after Logout", err, tokenclient.ErrLoginRequired)
	})
}

// TestRenewedLate: of the answers to requests that were sent with one token the
// first that arrives wins, and no later one brings an older token back.
func TestRenewedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := newAnswersRig(t, nil)
		var done []<-chan int
		for _, path := range []string{"/1", "/2", "/3", "/4"} {
			done = append(done, r.send(path))
		}
		want := func(what, token string, adopted int) {
			t.Helper()
			if got := r.Access(t); got != token || int(r.adopted.Load()) != adopted {
				t.Errorf("%s: token %s after %d renewals, want %s after %d", what, got, r.adopted.Load(), token, adopted)
			}
			r.wantStored(t, uint64(adopted+1))
		}
		a.answer("/2", "T2")
		want("the first answer", "T2", 1)
		a.answer("/1", "T1")
		want("a late answer", "T2", 1)

		done = append(done, r.send("/5"))
		if got := a.sentWith("/5"); got != "T2" {
			t.Errorf("the next request was sent with %s", got)
		}
		a.answer("/3", "T0")
		want("the old token itself", "T2", 1)
		a.answer("/5", "T5")
		want("the next renewal", "T5", 2)
		a.answer("/4", "T2")
		want("a token that was held before", "T5", 2)
		for i, d := range done {
			if status := <-d; status != 200 {
				t.Errorf("request %d: status %d", i+1, status)
			}
		}
		if calls := r.store.calls.Load(); calls != 2 {
			t.Errorf("the store was called %d times for 2 renewals", calls)
		}
	})
}

// TestRenewedNothing: what is no renewal costs nothing.
func TestRenewedNothing(t *testing.T) {
	for _, tc := range []struct {
		name    string
		renewed func(*http.Response) (*tokenclient.Token, bool)
	}{
		{"the same token", tokenclient.RenewedHeader(slidingHeader)},
		{"the same pair", func(*http.Response) (*tokenclient.Token, bool) { return sessiontest.Pair("T0", "R0", time.Hour), true }},
		{"control characters", func(*http.Response) (*tokenclient.Token, bool) { return sessiontest.Pair("T1\r\nX: y", "", 0), true }},
		{"control characters in the refresh token", func(*http.Response) (*tokenclient.Token, bool) { return sessiontest.Pair("T1", "R\n", 0), true }},
		{"no access token", func(*http.Response) (*tokenclient.Token, bool) { return new(tokenclient.Token), true }},
		{"nil", func(*http.Response) (*tokenclient.Token, bool) { return nil, true }},
		{"not found", func(*http.Response) (*tokenclient.Token, bool) { return sessiontest.Pair("T1", "", 0), false }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r, a := newAnswersRig(t, func(c *tokenclient.Config) { c.Renewed = tc.renewed })
			r.Give(t, sessiontest.Pair("T0", "R0", 0))
			for range 3 {
				done := r.send("/")
				a.answer("/", "T0")
				if status := <-done; status != 200 {
					t.Errorf("status %d", status)
				}
			}
			if r.Access(t) != "T0" || r.adopted.Load() != 0 || r.store.calls.Load() != 0 {
				t.Errorf("token %s, %d adopted, the store called %d times", r.Access(t), r.adopted.Load(), r.store.calls.Load())
			}
		})
	}
}

// TestRenewedFields: what an answer leaves out stays, and lifetimes count from when
// the request was sent.
func TestRenewedFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{AccessLifetime: 90500 * time.Millisecond}, nil)
		login := r.Server.Issue("alice")
		login.Scope, login.TokenType = "read", "Custom"
		r.Give(t, login)
		time.Sleep(time.Minute)
		sent := time.Now()
		release := r.Server.Hold()
		time.AfterFunc(30*time.Second, release)
		r.WantGet(t, 200)
		got, err := r.Session.Peek(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.AccessToken == login.AccessToken || got.RefreshToken != login.RefreshToken ||
			got.Scope != "read" || got.TokenType != "Custom" {
			t.Errorf("%v", got)
		}
		if !got.Issued.Equal(sent) || !got.Expiry.Equal(sent.Add(90500*time.Millisecond)) {
			t.Errorf("issued %v, expires %v, sent %v", got.Issued, got.Expiry, sent)
		}
		r.wantStored(t, 2)
	})
}

// TestRenewedOfSomeType: a type that is no scheme costs no token of an answer, as it costs none of
// a refresh.
func TestRenewedOfSomeType(t *testing.T) {
	for _, tokenType := range []string{"urn:ietf:params:oauth:token-type:access_token", "jwt-bearer", "Bearer"} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Renewed = func(*http.Response) (*tokenclient.Token, bool) {
				renewed, err := tokenclient.ParseToken([]byte(`{"access_token":"renewed","token_type":"`+tokenType+`"}`), time.Now(), nil)
				return renewed, err == nil
			}
		})
		base := sessiontest.NewBase(200)
		for range 2 {
			if _, err := s.Wrap(&http.Client{Transport: base}).Get(sessiontest.URL); err != nil {
				t.Fatal(err)
			}
		}
		if got := base.Sent[1].Auth; len(got) != 1 || got[0] != "Bearer renewed" {
			t.Errorf("type %q: then sent with %q", tokenType, got)
		}
	}
}

// TestRenewedInReplay: the answer to the second sending may bring a token too.
func TestRenewedInReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Refresher = srv.JSONRefresher()
		})
		r.Login(t)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
		r.wantStored(t, 3)
		if c := r.Server.Counters(); r.adopted.Load() != 1 || c.Renewals != 1 {
			t.Errorf("%d adopted, %+v", r.adopted.Load(), c)
		}
	})
}

func TestRenewedHeader(t *testing.T) {
	for _, name := range []string{"", "X Auth", "X:"} {
		find := tokenclient.RenewedHeader(name) // which New refuses: see TestConfigMistakes
		if got, ok := find(&http.Response{Header: http.Header{name: {"x"}}}); ok || got != nil {
			t.Errorf("RenewedHeader(%q) finds %v", name, got)
		}
	}
	find := tokenclient.RenewedHeader("x-AUTH-token")
	resp := &http.Response{Header: http.Header{}}
	if got, ok := find(resp); ok || got != nil {
		t.Errorf("%v in an answer without it", got)
	}
	resp.Header["X-Auth-Token"] = []string{" one ", "two"}
	if got, ok := find(resp); !ok || got.AccessToken != "one" {
		t.Errorf("%v, %t", got, ok)
	}
}

// TestRenewedAfterClose: an answer that comes after Close changes nothing.
func TestRenewedAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := newAnswersRig(t, nil)
		done := r.send("/")
		if err := r.Session.Close(context.Background()); err != nil {
			t.Error(err)
		}
		a.answer("/", "T1")
		if status := <-done; status != 200 || r.store.calls.Load() != 0 {
			t.Errorf("status %d, the store called %d times", status, r.store.calls.Load())
		}
	})
}
