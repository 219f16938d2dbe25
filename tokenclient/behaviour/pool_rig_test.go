package behaviour_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// sessionOf returns the session of key.
func sessionOf(t testing.TB, p *tokenclient.Pool, key string) *tokenclient.Session {
	t.Helper()
	s, err := p.Session(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// goodConfig is a Config for any key.
func goodConfig() tokenclient.Config {
	return tokenclient.Config{Refresher: tokenclient.RefresherFunc(sessiontest.NoRefresh), Origins: []string{sessiontest.FakeAPI}}
}

// configuredBy is a Pool with a token for everybody, and config.
func configuredBy(t *testing.T, config func(context.Context, string) (tokenclient.Config, error)) *tokenclient.Pool {
	t.Helper()
	return sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, Config: config}, nil)
}

// expired is a token that has expired, so that who sends a request has to wait for a
// refresh.
func expired(key string) *tokenclient.Token {
	t := sessiontest.Pair("access-"+key, "refresh-"+key, time.Hour)
	t.Issued, t.Expiry = t.Issued.Add(-2*time.Hour), t.Expiry.Add(-2*time.Hour)
	return t
}

// userOf is whose refresh token old is.
func userOf(old *tokenclient.Token) string { return strings.TrimPrefix(old.RefreshToken, "refresh-") }

func fresh(old *tokenclient.Token) *tokenclient.Token {
	return sessiontest.Pair("new-"+userOf(old), old.RefreshToken, time.Hour)
}

// askers are requests that are sent at the same time, none of which may fail.
type askers struct {
	t      *testing.T
	client *http.Client
	sync.WaitGroup
}

func newAskers(t *testing.T, p *tokenclient.Pool) *askers {
	return &askers{t: t, client: p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})}
}

// ask sends a request of key's, and does not wait for it.
func (a *askers) ask(key string) {
	a.Go(func() {
		if err := sessiontest.Ask(a.t.Context(), a.client, key); err != nil {
			a.t.Errorf("%s: %v", key, err)
		}
	})
}
