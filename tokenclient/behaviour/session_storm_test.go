package behaviour_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// That no goroutine is left is what the bubble checks when it ends.
func TestStormOfRevokedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sessiontest.Many(10_000)
		r := sessiontest.New(t, slow(), nil)
		withConnections(t, r, 200)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		r.WantGets(t, n, 200)
		r.WantRefreshes(t, 1)
		if c := r.Server.Counters(); c.Requests > 2*n || c.Reuses != 0 {
			t.Errorf("%d requests for %d calls, %d reuses", c.Requests, n, c.Reuses)
		}
	})
}

func TestStormOfRejections(t *testing.T) {
	for _, tc := range []struct {
		name     string
		accepted bool
	}{
		{"never accepted", false},
		{"accepted before", true},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			n := sessiontest.Many(10_000)
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
			withConnections(t, r, 200)
			r.Login(t)
			if tc.accepted {
				r.WantGet(t, 200)
			}
			before := r.Server.Counters()
			r.Server.FailAPI(-1, tokentest.Fault{Status: 401})
			r.WantGets(t, n, 401)
			c := r.Server.Counters()
			if c.Refreshes < 1 || c.Refreshes > 5 {
				t.Errorf("%d refreshes, want at most 5", c.Refreshes)
			}
			// One request tries each new token four times for all.
			if got := c.Requests - before.Requests; got > 2*n+4*c.Refreshes {
				t.Errorf("%d requests for %d calls and %d tokens: another one was sent more than twice", got, n, c.Refreshes)
			}
		})
	}
}

// An endpoint that always answers 401 must not cost a refresh each time, however
// slowly it is asked. What is allowed is one for each hour, the longest interval,
// after the first few.
func TestStormSlowerThanTheWindow(t *testing.T) {
	for _, tc := range []struct {
		name  string
		every time.Duration
		mixed bool // another endpoint takes the same tokens
	}{
		{name: "each 20 seconds", every: 20 * time.Second},
		{name: "each 29 seconds", every: 29 * time.Second},
		{name: "each 31 seconds", every: 31 * time.Second},
		{name: "each 2 minutes", every: 2 * time.Minute},
		{name: "each 10 minutes", every: 10 * time.Minute},
		{name: "each 20 seconds, beside one that works", every: 20 * time.Second, mixed: true},
		{name: "each 2 minutes, beside one that works", every: 2 * time.Minute, mixed: true},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			// Tokens live for longer than the test, so that no refresh is due.
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, AccessLifetime: 1000 * time.Hour}, nil)
			r.Login(t)
			const hours = 12
			for end := time.Now().Add(hours * time.Hour); time.Now().Before(end); time.Sleep(tc.every) {
				if tc.mixed {
					r.WantGet(t, 200)
				}
				r.Server.FailAPI(-1, tokentest.Fault{Status: 401})
				r.WantGet(t, 401)
				r.Server.FailAPI(0, tokentest.Fault{})
			}
			if got := r.Server.Counters().Refreshes; got > 10+hours {
				t.Errorf("%d refreshes in %d hours", got, hours)
			}
		})
	}
}

// Tokens that are really revoked, and good after a refresh, are refreshed each
// time: the guard is for those that are not.
func TestStormGuardLetsHonestRevocationsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, AccessLifetime: 1000 * time.Hour}, nil)
		r.Login(t)
		for range 100 {
			r.Server.RevokeAccess("alice")
			r.WantGet(t, 200)
			time.Sleep(time.Minute)
		}
		r.WantRefreshes(t, 100)
	})
}

// After a storm the session heals by itself, within the longest interval, and is
// then as it was before.
func TestStormEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, AccessLifetime: 1000 * time.Hour}, nil)
		r.Login(t)
		r.Server.FailAPI(-1, tokentest.Fault{Status: 401})
		for range 3600 {
			r.WantGet(t, 401)
			time.Sleep(10 * time.Second)
		}
		r.Server.FailAPI(0, tokentest.Fault{})
		r.WantGet(t, 200)
		r.Server.RevokeAccess("alice")
		for range 60 {
			time.Sleep(time.Minute)
			status, err := r.Get(t.Context())
			if err != nil || status == 200 {
				break
			}
		}
		for range 10 {
			r.WantGet(t, 200)
			r.Server.RevokeAccess("alice")
			time.Sleep(time.Minute)
		}
	})
}

// A new token that is inside the window at once is not refreshed per request.
func TestStormOfShortTokens(t *testing.T) {
	for _, tc := range []struct {
		name             string
		lifetime, before time.Duration
		most             int // refreshes in a minute
	}{
		{"10 s", 10 * time.Second, 0, 9},
		{"10 s, refreshed an hour before", 10 * time.Second, time.Hour, 20},
		{"1 s", time.Second, 0, 90},
		{"1 s, refreshed an hour before", time.Second, time.Hour, 200},
		{"1 s, never early", time.Second, -1, 61},
		{"zero", 500 * time.Millisecond, 0, 200}, // says expires_in 0
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			o := &tokentest.Options{InMemory: true, AccessLifetime: tc.lifetime}
			r := sessiontest.New(t, o, func(c *tokenclient.Config, _ *tokentest.Server) { c.RefreshBefore = tc.before })
			r.Login(t)
			for range 1200 {
				if _, err := r.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			if got := r.Server.Counters().Refreshes; got > tc.most {
				t.Errorf("%d refreshes in a minute, want at most %d", got, tc.most)
			}
		})
	}
}
