package behaviour_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestRenewedAfterLogout: a login or logout wins over a renewed answer that is on
// its way, and over one that is on its way to the store.
func TestRenewedAfterLogout(t *testing.T) {
	for _, tc := range []struct {
		name   string
		turn   func(t *testing.T, r *slidingRig) error
		status int // of a request after it; 0: ErrLoginRequired
	}{
		{"logout", func(t *testing.T, r *slidingRig) error { return r.Session.Logout(t.Context()) }, 0},
		{"login", func(t *testing.T, r *slidingRig) error {
			return r.Session.SetToken(t.Context(), sessiontest.Pair("L", "RL", 0))
		}, 200},
		{"logout and login", func(t *testing.T, r *slidingRig) error {
			_ = r.Session.Logout(t.Context())
			return r.Session.SetToken(t.Context(), sessiontest.Pair("L", "RL", 0))
		}, 200},
	} {
		check := func(t *testing.T, r *slidingRig, a *answers) {
			t.Helper()
			synctest.Wait()
			rec, err := r.store.Load(t.Context(), "alice")
			if tc.status == 0 {
				sessiontest.WantErr(t, "the store", err, tokenclient.ErrNoToken)
				if status := <-r.send("/after"); status != 0 {
					t.Errorf("a request after the logout: status %d", status)
				}
				return
			}
			if err != nil || rec.Token.AccessToken != "L" || rec.Number != 1 || r.Access(t) != "L" {
				t.Errorf("record %d, error %v; the session has %s", rec.Number, err, r.Access(t))
			}
			done := r.send("/after")
			if a.sentWith("/after") != "L" {
				t.Error("not sent with the token of the login")
			}
			a.answer("/after", "L")
			<-done
		}
		sessiontest.Bubble(t, tc.name+" before the answer", func(t *testing.T) {
			r, a := newAnswersRig(t, nil)
			done := r.send("/")
			if err := tc.turn(t, r); err != nil {
				t.Error(err)
			}
			a.answer("/", "T1")
			if status := <-done; status != 200 {
				t.Errorf("status %d", status)
			}
			check(t, r, a)
			if r.adopted.Load() != 0 || r.store.calls.Load() != 0 {
				t.Errorf("%d adopted, the store called %d times", r.adopted.Load(), r.store.calls.Load())
			}
		})
		sessiontest.Bubble(t, tc.name+" before the save", func(t *testing.T) {
			r, a := newAnswersRig(t, nil)
			r.store.slow = time.Minute
			done := r.send("/")
			a.answer("/", "T1")
			<-done
			if err := tc.turn(t, r); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Minute)
			check(t, r, a)
		})
	}
}

// TestRenewedDuringRefresh: while a refresh runs no answer brings a token; the one
// that the refresh brings is newer.
func TestRenewedDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := &sessiontest.StepRefresher{Before: sessiontest.NewBarrier()}
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			step.OAuth2Refresher = srv.OAuth2Refresher()
			c.Refresher = step
		})
		r.Login(t)
		before := r.Access(t)
		result := make(chan *tokenclient.Token)
		go func() {
			got, err := r.Session.Refresh(context.Background())
			if err != nil {
				t.Error(err)
			}
			result <- got
		}()
		<-step.Before.Reached
		r.WantGet(t, 200)
		if r.Access(t) != before || r.adopted.Load() != 0 {
			t.Error("a token from an answer was adopted during a refresh")
		}
		step.Before.Lift()
		if got := <-result; got == nil || got.AccessToken != r.Access(t) {
			t.Error("not the refreshed token")
		}
		r.wantStored(t, 2)
		r.WantGet(t, 200)
		r.wantStored(t, 3)
		r.WantRefreshes(t, 1)
	})
}

// TestRefreshDuringSave: a refresh that is asked for while a renewed token is
// written waits for that, is made all the same, and presents the newest token.
func TestRefreshDuringSave(t *testing.T) {
	for _, tc := range []struct {
		name     string
		attached bool // the access token is what is presented
	}{{"refresh token", false}, {"heartbeat", true}} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			var presented *tokenclient.Token
			r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
				real := srv.JSONRefresher()
				if tc.attached {
					real = heartbeat(srv)
				}
				c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					presented = old
					return real.Refresh(ctx, old)
				})
			})
			if !tc.attached {
				r.Login(t)
			}
			r.store.slow = time.Minute
			r.WantGet(t, 200)
			synctest.Wait() // the save has begun
			var refreshes sync.WaitGroup
			for range 3 {
				refreshes.Go(func() {
					if _, err := r.Session.Refresh(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait() // they wait for the save
			r.WantGet(t, 200)
			renewed := r.Access(t) // which is not what they asked for
			refreshes.Wait()
			if presented == nil || presented.AccessToken != renewed {
				t.Fatal("the newest token was not presented")
			}
			if c := r.Server.Counters(); c.Refreshes+c.Heartbeats != 1 {
				t.Errorf("%+v, want one refresh", c)
			}
			if r.Access(t) == renewed {
				t.Error("the session does not have the refreshed token")
			}
			time.Sleep(5 * time.Minute)
			if rec := r.stored(t); rec.Number != 3 && rec.Number != 4 {
				t.Errorf("record %d", rec.Number)
			}
			r.wantStored(t, r.stored(t).Number)
		})
	}
}

// TestRenewedUnderAnothersRefresh: a token from an answer does not take the number
// that another process needs for the pair that it is about to get.
func TestRenewedUnderAnothersRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := &sessiontest.StepRefresher{After: sessiontest.NewBarrier()}
		kept := new(writeStore)
		o := tokentest.Options{InMemory: true, SlidingHeader: true}
		config := func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Renewed = tokenclient.RenewedHeader("Authorization")
			c.Store, c.Key = kept, "alice"
		}
		a := sessiontest.New(t, &o, config)
		step.OAuth2Refresher = a.Server.OAuth2Refresher()
		b := a.Another(t, func(c *tokenclient.Config, srv *tokentest.Server) {
			config(c, srv)
			c.Refresher = step
		})
		a.Login(t)
		refreshed := make(chan error, 1)
		go func() {
			_, err := b.Session.Refresh(context.Background())
			refreshed <- err
		}()
		<-step.After.Reached // b's refresh token is spent, and the new one is nowhere else
		for range 5 {
			a.WantGet(t, 200)
			time.Sleep(time.Second)
		}
		if kept.writes.Load() != 0 {
			t.Errorf("the store was written %d times", kept.writes.Load())
		}
		step.After.Lift()
		if err := <-refreshed; err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first finds b's pair, the second is one of its own
			if _, err := a.Session.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if c := a.Server.Counters(); c.Refreshes != 2 || c.Reuses != 0 {
			t.Errorf("%+v", c)
		}
	})
}
