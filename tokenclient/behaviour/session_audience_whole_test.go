package behaviour_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestAudienceLoggedOut: who logs out is logged out for all audiences, also if the session's own
// token was not asked for since the process was started, and if the store does not know.
func TestAudienceLoggedOut(t *testing.T) {
	for _, c := range []struct {
		name         string
		used, broken bool
	}{{"used", true, false}, {"not used", false, false}, {"used, not stored", true, true}, {"not used, not stored", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, kept := newAudienceServer(t), &sessiontest.StepStore{Store: new(store.Memory)}
				before := srv.session(kept)
				if err := before.SetToken(t.Context(), srv.login("alice")); err != nil {
					t.Fatal(err)
				}
				_ = before.Close(t.Context())

				session := srv.session(kept)
				defer func() { _ = session.Close(t.Context()) }()
				if c.used {
					if _, err := srv.get(session, "mail"); err != nil {
						t.Fatal(err)
					}
				}
				kept.Broken.Store(c.broken)
				if err := session.Logout(t.Context()); (err != nil) != c.broken {
					t.Errorf("logged out with %v", err)
				}
				kept.Broken.Store(false)
				for range 2 {
					for audience := range audienceOrigins {
						if user, err := srv.get(session, audience); !errors.Is(err, tokenclient.ErrLoginRequired) {
							t.Errorf("%q after the logout: %q, %v", audience, user, err)
						}
					}
					time.Sleep(2 * time.Second)
				}
				if err := session.SetToken(t.Context(), srv.login("bob")); err != nil {
					t.Fatal(err)
				}
				for audience := range audienceOrigins {
					if user, err := srv.get(session, audience); err != nil || user != "bob" {
						t.Errorf("%q after the next login: %q, %v", audience, user, err)
					}
				}
			})
		})
	}
}
