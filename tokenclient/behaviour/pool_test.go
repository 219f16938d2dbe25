package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestNewPoolRefuses(t *testing.T) {
	config := func(context.Context, string) (tokenclient.Config, error) { return tokenclient.Config{}, nil }
	var noMemory *store.Memory
	for field, c := range map[string]tokenclient.PoolConfig{
		"Store is nil":            {Config: config},
		"Store holds a nil":       {Store: noMemory, Config: config},
		"Config":                  {Store: new(store.Memory)},
		"MaxIdle is negative":     {Store: new(store.Memory), Config: config, MaxIdle: -1},
		"IdleFor is negative":     {Store: new(store.Memory), Config: config, IdleFor: -1},
		"MaxRefreshes is negativ": {Store: new(store.Memory), Config: config, MaxRefreshes: -1},
	} {
		if p, err := tokenclient.NewPool(c); p != nil || err == nil || !strings.Contains(err.Error(), "PoolConfig."+field) {
			t.Errorf("%s: %v, error %v", field, p, err)
		}
	}
}

// TestPoolConcurrentUsers: a thousand users in parallel through one client, whose
// sessions are evicted and whose tokens expire and are revoked on the way. Each answer
// is its own user's.
func TestPoolConcurrentUsers(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 200
	}
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: new(store.Memory), MaxIdle: n / 4,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}}, nil
			},
		}, nil)
		client := p.Wrap(srv.Client())
		var wg sync.WaitGroup
		for i := range n {
			user := sessiontest.PoolUser(i)
			wg.Go(func() {
				s, err := p.Session(t.Context(), user)
				if err == nil {
					err = s.SetToken(t.Context(), srv.Issue(user))
				}
				if err != nil {
					t.Error(err)
					return
				}
				for round := range 4 {
					if round == 1 {
						srv.RevokeAccess(user)
					}
					ctx := tokenclient.WithKey(t.Context(), user)
					if got, err := sessiontest.Subject(ctx, client, srv.URL); err != nil || got != user {
						t.Errorf("%s was answered as %q, error %v", user, got, err)
					}
					time.Sleep(10 * time.Minute)
				}
			})
		}
		wg.Wait()
		c, s := srv.Counters(), p.Stats()
		if c.Reuses != 0 {
			t.Errorf("%d reuses of a spent token", c.Reuses)
		}
		if c.Refreshes != 2*n { // because of the revocation, and of the expiry
			t.Errorf("%d refreshes for %d users", c.Refreshes, n)
		}
		if s.Evicted == 0 || s.Live > n/4 {
			t.Errorf("%+v: want evictions, and at most %d live", s, n/4)
		}
	})
}

// TestPoolContract: what a request gets before there is a session to ask.
func TestPoolContract(t *testing.T) {
	var seen *http.Request
	api := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) { seen = req; return sessiontest.Reply(req, 200), nil })
	configured := 0
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{
		Store: &sessiontest.PoolStore{Known: sessiontest.Everybody},
		Config: func(_ context.Context, key string) (tokenclient.Config, error) {
			configured++
			return tokenclient.Config{
				Refresher: tokenclient.RefresherFunc(sessiontest.NoRefresh),
				Origins:   []string{"https://" + key + ".example.com"}, // each user's own
			}, nil
		},
	}, nil)
	send := func(ctx context.Context, rt http.RoundTripper, url string) (closed bool, err error) {
		seen = nil
		body := sessiontest.NewBody("body")
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = rt.RoundTrip(req)
		return body.Closed.Load() > 0, err
	}
	alice := tokenclient.WithKey(t.Context(), "alice")

	for name, ctx := range map[string]context.Context{
		"no key": t.Context(), "an empty key": tokenclient.WithKey(alice, ""),
	} {
		closed, err := send(ctx, p.Transport(api), "https://alice.example.com")
		sessiontest.WantErr(t, name, err, tokenclient.ErrNoKey)
		if !closed || seen != nil {
			t.Errorf("%s: body closed: %v, sent: %v", name, closed, seen != nil)
		}
	}
	closed, err := send(alice, &tokenclient.Transport{Base: api}, "https://alice.example.com")
	if err == nil || !closed {
		t.Errorf("no session: error %v, body closed: %v", err, closed)
	}
	both := p.Transport(api)
	both.Session = new(tokenclient.Session)
	closed, err = send(alice, both, "https://alice.example.com")
	if err == nil || !closed {
		t.Errorf("a pool and a session: error %v, body closed: %v", err, closed)
	}
	if _, err := send(tokenclient.WithoutToken(alice), p.Transport(api), "https://alice.example.com"); err != nil || seen.Header["Authorization"] != nil {
		t.Errorf("WithoutToken: error %v, header %v", err, seen.Header)
	}
	if _, err := send(tokenclient.WithoutToken(t.Context()), p.Transport(api), "https://alice.example.com"); err != nil {
		t.Errorf("WithoutToken and without a key: error %v", err)
	}
	if configured != 0 {
		t.Errorf("Config was called %d times for requests without a token", configured)
	}
	for _, c := range []struct{ key, url, want string }{
		{"alice", "https://alice.example.com", "Bearer access-alice"},
		{"alice", "https://bob.example.com", ""},
		{"bob", "https://alice.example.com", ""},
		{"bob", "https://bob.example.com", "Bearer access-bob"},
	} {
		_, err := send(tokenclient.WithKey(alice, c.key), p.Transport(api), c.url)
		if err != nil || seen.Header.Get("Authorization") != c.want {
			t.Errorf("%s at %s: error %v, Authorization %q, want %q", c.key, c.url, err, seen.Header.Get("Authorization"), c.want)
		}
	}
	if _, err := p.Session(t.Context(), ""); !errors.Is(err, tokenclient.ErrNoKey) {
		t.Errorf("Session of no key: error %v", err)
	}
}

// TestPoolRedirects: a redirect to another origin leads a user's token nowhere, and
// one within the user's origins keeps the key.
func TestPoolRedirects(t *testing.T) {
	var got []string
	api := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		got = append(got, req.URL.Host+req.URL.Path+" "+req.Header.Get("Authorization"))
		resp := sessiontest.Reply(req, 200)
		if to := req.URL.Query().Get("to"); to != "" {
			resp.StatusCode = http.StatusFound
			resp.Header.Set("Location", to)
		}
		return resp, nil
	})
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}, sessiontest.NoRefresh)
	client := p.Wrap(&http.Client{Transport: api})
	for _, url := range []string{
		sessiontest.FakeAPI + "/a?to=/b",
		sessiontest.FakeAPI + "/a?to=http://localhost:2/c?to=" + sessiontest.FakeAPI + "/d",
	} {
		req, _ := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), "alice"), http.MethodGet, url, nil)
		if _, err := client.Do(req); err != nil {
			t.Fatal(err)
		}
	}
	want := "localhost:1/a Bearer access-alice, localhost:1/b Bearer access-alice, localhost:1/a Bearer access-alice, localhost:2/c , localhost:1/d "
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("sent %s\nwant %s", s, want)
	}
}

// TestPoolLogin: SetToken counts at once, whatever was remembered, and so does Logout.
func TestPoolLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(sessiontest.PoolStore)
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: shared}, sessiontest.NoRefresh)
		client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
		for range 100 {
			sessiontest.WantErr(t, "a request before the login", sessiontest.Ask(t.Context(), client, "alice"), tokenclient.ErrLoginRequired)
		}
		if n := shared.Loads.Load(); n != 1 {
			t.Errorf("%d looks at the store for 100 requests, want 1", n)
		}
		s, err := p.Session(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetToken(t.Context(), sessiontest.Everybody("alice")); err != nil {
			t.Fatal(err)
		}
		if err := sessiontest.Ask(t.Context(), client, "alice"); err != nil {
			t.Errorf("a request after the login: %v", err)
		}
		if err := p.Logout(t.Context(), "alice"); err != nil {
			t.Errorf("Logout: %v", err)
		}
		sessiontest.WantErr(t, "a request after the logout", sessiontest.Ask(t.Context(), client, "alice"), tokenclient.ErrLoginRequired)
		if r, err := shared.Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrNoToken) || r.State != tokenclient.LoggedOut {
			t.Errorf("the store has %v, error %v", r.State, err)
		}
		sessiontest.WantErr(t, "Logout of nobody", p.Logout(t.Context(), ""), tokenclient.ErrNoKey)

		// A login in another process is seen after a second.
		if _, _, err := shared.Replace(t.Context(), "alice", sessiontest.Everybody("alice")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := sessiontest.Ask(t.Context(), client, "alice"); err != nil {
			t.Errorf("a request after a login elsewhere: %v", err)
		}
	})
}
