package behaviour_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// revoke ends the access tokens of an audience.
func (s *audienceServer) revoke(audience string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for access := range s.access {
		if strings.HasPrefix(access, s.user+" "+audience+" ") {
			delete(s.access, access)
		}
	}
}

// TestAudienceRefreshedElsewhere: another process has refreshed for another audience. So the store
// has another refresh token, and the same access token for this one. If the server has refused
// that it is refreshed, and does not go out again.
func TestAudienceRefreshedElsewhere(t *testing.T) {
	for _, c := range []struct {
		name string
		use  func(context.Context, *audienceServer, *tokenclient.Session) error
	}{
		{"request", func(_ context.Context, srv *audienceServer, s *tokenclient.Session) error {
			_, err := srv.get(s, "")
			return err
		}},
		{"Refresh", func(ctx context.Context, srv *audienceServer, s *tokenclient.Session) error {
			_, err := s.Refresh(ctx)
			return err
		}},
		{"Do", func(ctx context.Context, srv *audienceServer, s *tokenclient.Session) error {
			return s.Do(ctx, func(_ context.Context, token *tokenclient.Token) error {
				srv.mu.Lock()
				defer srv.mu.Unlock()
				if !srv.access[token.AccessToken] {
					return tokenclient.ErrRejected
				}
				return nil
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, kept := newAudienceServer(t), new(store.Memory)
				here, there := srv.session(kept), srv.session(kept)
				defer func() { _ = here.Close(t.Context()) }()
				defer func() { _ = there.Close(t.Context()) }()
				if err := here.SetToken(t.Context(), srv.login("alice")); err != nil {
					t.Fatal(err)
				}
				if _, err := srv.get(there, "mail"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				srv.revoke("")
				if err := c.use(t.Context(), srv, here); err != nil {
					t.Error(err)
				}
				srv.want("at the end", map[string]int{"": 1, "mail": 1})
			})
		})
	}
}

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

// TestAudienceRefusedInMemory: a session without a Store does not present a refresh token for one
// audience that the server has refused for another.
func TestAudienceRefusedInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAudienceServer(t)
		session := srv.session(nil)
		defer func() { _ = session.Close(t.Context()) }()
		if err := session.SetToken(t.Context(), srv.login("alice")); err != nil {
			t.Fatal(err)
		}
		srv.mu.Lock()
		srv.refresh = "another one"
		srv.mu.Unlock()
		time.Sleep(2 * audienceLife)
		for _, audience := range []string{"mail", "", "files"} {
			if _, err := srv.get(session, audience); !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("%q: %v", audience, err)
			}
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if srv.reuses != 1 {
			t.Errorf("the refused token was presented %d times", srv.reuses)
		}
	})
}
