package behaviour_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A Refresher that does not keep to its context may bring a pair long after a
// logout. That is as dead as any other.
func TestLogoutRaceWithLateRefresher(t *testing.T) {
	bob := &tokenclient.Token{AccessToken: "bob's", RefreshToken: "bob's"}
	for _, tc := range []struct {
		name   string
		login  *tokenclient.Token
		broken bool // the store, when the user logs out
		early  bool // the logout is before the deadline of the Refresher
	}{
		{name: "logout while it is late"},
		{name: "logout before it is late", early: true},
		{name: "logout that could not be stored", broken: true},
		{name: "logout that could not be stored, before it is late", broken: true, early: true},
		{name: "login as somebody else", login: bob},
		{name: "login as somebody else before it is late", login: bob, early: true},
	} {
		for _, memory := range []bool{true, false} {
			if tc.broken && !memory {
				continue
			}
			name := tc.name
			if memory {
				name += ", with a store"
			}
			sessiontest.Bubble(t, name, func(t *testing.T) {
				st := &sessiontest.StepStore{Store: new(store.Memory)}
				var refresher *sessiontest.StepRefresher
				var ended []error
				r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
					refresher = &sessiontest.StepRefresher{OAuth2Refresher: srv.OAuth2Refresher(), KeepAlive: true, After: sessiontest.NewBarrier()}
					c.Refresher, c.RefreshTimeout = refresher, 5*time.Second
					if memory {
						c.Store, c.Key = st, "somebody"
					}
					c.Hooks = &tokenclient.Hooks{SessionEnded: func(err error) { ended = append(ended, err) }}
				})
				r.Login(t)
				r.Server.RevokeAccess("alice")
				go func() { _, _ = r.Get(t.Context()) }()
				<-refresher.After.Reached
				if !tc.early {
					time.Sleep(10 * time.Second) // it was given up
				}
				st.Broken.Store(tc.broken)
				err := r.Session.Logout(t.Context())
				if tc.broken {
					sessiontest.WantErr(t, "Logout", err, tokenclient.ErrStoreUnavailable)
				} else if err != nil {
					t.Fatal(err)
				}
				st.Broken.Store(false)
				if tc.login != nil {
					r.Give(t, tc.login)
				}
				time.Sleep(10 * time.Second)
				refresher.After.Lift()
				time.Sleep(time.Minute)
				synctest.Wait()

				now, err := r.Session.Peek(t.Context())
				if tc.login == nil && !errors.Is(err, tokenclient.ErrLoggedOut) {
					t.Errorf("token %v, error %v; want still ErrLoggedOut", now, err)
				}
				if tc.login != nil && (err != nil || now.AccessToken != tc.login.AccessToken) {
					t.Errorf("token %v, error %v; want the new user's", now, err)
				}
				refresher.WantRevoked(t)
				rec, _ := st.Load(t.Context(), "somebody")
				if rec.Token != nil && rec.Token.RefreshToken == refresher.Issued()[0] {
					t.Error("the late pair was stored")
				}
				if len(refresher.Issued()) != 1 || len(ended) != 1 {
					t.Errorf("%d pairs issued and %d sessions ended, want 1 and 1", len(refresher.Issued()), len(ended))
				}
			})
		}
	}
}

// Logout forgets in memory whatever the store does, says so, and another process's
// copy of the old login does not come back.
func TestLogoutRaceWithBrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &sessiontest.StepStore{Store: new(store.Memory)}
		r := sessiontest.New(t, slow(), sessiontest.Kept(st))
		r.Login(t)
		r.WantGet(t, 200)
		st.Broken.Store(true)
		sessiontest.WantErr(t, "Logout", r.Session.Logout(t.Context()), tokenclient.ErrStoreUnavailable)
		st.Broken.Store(false)
		for range 3 {
			time.Sleep(time.Minute)
			_, err := r.Get(t.Context())
			sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoggedOut)
		}
		r.Logout(t)
		if rec, _ := st.Load(t.Context(), "alice"); rec.State != tokenclient.LoggedOut {
			t.Errorf("the record is %v after the second Logout", rec.State)
		}
		time.Sleep(time.Minute)
		if _, err := st.Store.(*store.Memory).Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrNoToken) {
			t.Errorf("Load: %v", err)
		}
		r.Login(t)
		r.WantGet(t, 200)
	})
}

// A request that began as alice's must not be sent again as bob's: her transfer
// would be made from his account.
func TestLogoutRaceDoesNotMixUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLateRig(t, tokentest.Options{})
		answered := r.begin(t)
		r.Logout(t)
		r.Give(t, r.Server.Issue("bob"))
		r.held.release()
		sessiontest.WantErr(t, "a request of alice's that was refused when bob had logged in", <-answered, tokenclient.ErrLoggedOut)
	})
}

// A logout with a context that has ended already still forgets.
func TestLogoutRaceWithEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, sessiontest.Kept(new(store.Memory)))
		r.Login(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Session.Logout(ctx); err == nil {
			t.Error("Logout told the server with a context that had ended")
		}
		_, err := r.Get(t.Context())
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoggedOut)
		time.Sleep(time.Minute)
		_, err = r.Session.Token(t.Context())
		sessiontest.WantErr(t, "Token", err, tokenclient.ErrLoggedOut)
	})
}
