package behaviour_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestLoginRequiredSaysWhose: of many users' errors a program has to know whose they are,
// whoever it asks.
func TestLoginRequiredSaysWhose(t *testing.T) {
	r := sessiontest.New(t, nil, func(c *tokenclient.Config, _ *tokentest.Server) {
		c.Store, c.Key = new(store.Memory), "alice@example.com"
	})
	check := func(when string, kind error) {
		t.Helper()
		for name, call := range map[string]func() error{
			"GET":       func() error { _, err := r.Get(t.Context()); return err },
			"Token":     func() error { _, err := r.Session.Token(t.Context()); return err },
			"Peek":      func() error { _, err := r.Session.Peek(t.Context()); return err },
			"Refresh":   func() error { _, err := r.Session.Refresh(t.Context()); return err },
			"KeepFresh": func() error { return r.Session.KeepFresh(t.Context()) },
		} {
			err := call()
			if !errors.Is(err, tokenclient.ErrLoginRequired) || !errors.Is(err, kind) {
				t.Errorf("%s, %s: error %v", when, name, err)
			} else if strings.Count(err.Error(), `key "alice@example.com": `) != 1 || strings.Count(err.Error(), "tokenclient: key") != 1 {
				t.Errorf("%s, %s: %q does not say once whose it is", when, name, err)
			}
		}
	}
	check("before a login", tokenclient.ErrLoginRequired)
	r.Login(t)
	r.Server.RevokeAll("alice")
	_, _ = r.Get(t.Context())
	check("refused", tokenclient.ErrRefused)
	r.Login(t)
	if err := r.Session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("logged out", tokenclient.ErrLoggedOut)
}
