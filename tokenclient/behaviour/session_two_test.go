package behaviour_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// twins are two sessions over one store and key, as two processes are. alice has
// logged in by the first.
func twins(t *testing.T, o *tokentest.Options, timeout time.Duration) (a, b *sessiontest.Rig, kept *store.Memory) {
	t.Helper()
	kept = new(store.Memory)
	shared := func(c *tokenclient.Config, _ *tokentest.Server) {
		c.Store, c.Key, c.RefreshTimeout = kept, "alice", timeout
	}
	o.InMemory = true
	a = sessiontest.New(t, o, shared)
	b = a.Another(t, shared)
	a.Login(t)
	return a, b, kept
}

func TestTwoSessionsRefreshOncePerExpiry(t *testing.T) {
	for _, tc := range []struct {
		name    string
		latency time.Duration
		every   time.Duration
		run     func(a, b *sessiontest.Rig, f func(*sessiontest.Rig))
	}{
		{"in turn", 0, time.Minute, func(a, b *sessiontest.Rig, f func(*sessiontest.Rig)) { f(a); f(b) }},
		{"at the same time", 0, time.Minute, func(a, b *sessiontest.Rig, f func(*sessiontest.Rig)) { both(a, b, f) }},
		{"at the same time, slow", 3 * time.Second, time.Minute, func(a, b *sessiontest.Rig, f func(*sessiontest.Rig)) { both(a, b, f) }},
		{"after each expiry", 3 * time.Second, 16 * time.Minute, func(a, b *sessiontest.Rig, f func(*sessiontest.Rig)) { both(a, b, f) }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			a, b, _ := twins(t, &tokentest.Options{Latency: tc.latency}, 0)
			const hours = 5
			began := time.Now()
			var expiries int
			last, err := a.Session.Peek(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for time.Since(began) < hours*time.Hour {
				tc.run(a, b, func(r *sessiontest.Rig) { r.WantGet(t, 200) })
				if now, err := a.Session.Peek(t.Context()); err == nil && !now.Expiry.Equal(last.Expiry) {
					expiries++
					last = now
				}
				time.Sleep(tc.every)
			}
			c := a.Server.Counters()
			if c.Refreshes != expiries && c.Refreshes != expiries+1 || expiries < hours*3 {
				t.Errorf("%d refreshes for %d tokens", c.Refreshes, expiries)
			}
			if c.Reuses != 0 || c.Unauthorized != 0 {
				t.Errorf("%+v, want no reuse and no rejection", c)
			}
		})
	}
}

func TestTwoSessionsShareARevokedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, kept := twins(t, &tokentest.Options{Latency: 2 * time.Second}, 0)
		both(a, b, func(r *sessiontest.Rig) { r.WantGet(t, 200) })
		a.Server.RevokeAccess("alice")
		both(a, b, func(r *sessiontest.Rig) {
			r.WantGets(t, 20, 200)
		})
		a.WantRefreshes(t, 1)
		rec, err := kept.Load(t.Context(), "alice")
		if err != nil || rec.Number != 2 {
			t.Errorf("record %d, error %v", rec.Number, err)
		}
		for _, r := range []*sessiontest.Rig{a, b} {
			if now, err := r.Session.Peek(t.Context()); err != nil || now.AccessToken != rec.Token.AccessToken {
				t.Errorf("token %v, error %v: not the one in the store", now, err)
			}
		}
	})
}

// An early refresh leaves alone what another process is about to refresh; but a
// request that cannot go on without a new token waits for it, and gets it.
func TestTwoSessionsWaitForTheOther(t *testing.T) {
	for _, tc := range []struct {
		name string
		then func(a *sessiontest.Rig)
	}{
		{"expired", func(*sessiontest.Rig) { time.Sleep(15 * time.Second) }},
		{"rejected", func(a *sessiontest.Rig) { a.Server.RevokeAccess("alice") }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			const latency = 30 * time.Second
			a, b, _ := twins(t, &tokentest.Options{Latency: latency}, 2*latency)
			b.WantGet(t, 200)
			time.Sleep(15*time.Minute - 20*time.Second)
			go func() { _, _ = a.Session.Refresh(context.Background()) }()
			for range 9 { // it gives up again and again, and backs off
				time.Sleep(time.Second)
				b.WantGet(t, 200)
			}
			a.WantRefreshes(t, 1)
			tc.then(a)
			b.WantGet(t, 200)
			a.WantRefreshes(t, 1)
		})
	}
}

func TestTwoSessionsLoginAndLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := twins(t, &tokentest.Options{}, 0)
		b.WantGet(t, 200)

		// A login in one reaches the other when its own token is of no use.
		a.Server.RevokeAll("alice")
		second := a.Login(t)
		b.WantGet(t, 200)
		a.WantRefreshes(t, 0)
		if now, err := b.Session.Peek(t.Context()); err != nil || now.AccessToken != second.AccessToken {
			t.Errorf("token %v, error %v; want that of the second login", now, err)
		}

		a.Logout(t)
		_, err := b.Get(t.Context())
		sessiontest.WantErr(t, "GET after the other's logout", err, tokenclient.ErrLoginRequired)

		// And one brings the other back.
		time.Sleep(2 * time.Second)
		a.Login(t)
		b.WantGet(t, 200)
		b.Logout(t)
		_, err = a.Get(t.Context())
		sessiontest.WantErr(t, "GET after the other's logout", err, tokenclient.ErrLoginRequired)
		time.Sleep(2 * time.Second)
		b.Login(t)
		a.WantGet(t, 200)
		a.WantRefreshes(t, 0)
		if c := a.Server.Counters(); c.Reuses != 0 {
			t.Errorf("%d reuses", c.Reuses)
		}
	})
}

// One logs out while the other refreshes: nothing rises again, and the pair that
// came too late is revoked.
func TestTwoSessionsLogoutDuringRefresh(t *testing.T) {
	for _, point := range racePoints {
		sessiontest.Bubble(t, point.name, func(t *testing.T) {
			a := newRaceRig(t, true, point.stop)
			other := a.Another(t, func(c *tokenclient.Config, _ *tokentest.Server) {
				c.Store, c.Key, c.Refresher = a.store.Store, "somebody", &sessiontest.StepRefresher{OAuth2Refresher: a.Server.OAuth2Refresher()}
			}).Session
			if _, err := other.Peek(t.Context()); err != nil {
				t.Fatal(err)
			}
			errs := a.wait(t, 1)
			if err := other.Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.at.Lift()
			if err := <-errs; err == nil || err.Error() == "status 200" {
				t.Errorf("GET: %v after a logout in another process", err)
			}
			time.Sleep(time.Hour)
			_, err := a.Session.Token(t.Context())
			sessiontest.WantErr(t, "Token", err, tokenclient.ErrLoginRequired)
			_, err = other.Token(t.Context())
			sessiontest.WantErr(t, "Token of the other", err, tokenclient.ErrLoginRequired)
			rec, _ := a.store.Load(t.Context(), "somebody")
			if rec.State != tokenclient.LoggedOut {
				t.Errorf("the record is %v", rec.State)
			}
			for _, token := range a.refresher.Issued() {
				dead := &tokenclient.Token{RefreshToken: token}
				_, err := a.Server.OAuth2Refresher().Refresh(t.Context(), dead)
				sessiontest.WantErr(t, "the late pair at the server", err, tokenclient.ErrLoginRequired)
			}
		})
	}
}
