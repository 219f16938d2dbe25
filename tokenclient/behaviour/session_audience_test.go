package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// audienceServer issues a token for one API at a time, and a new refresh token for all with
// each. It is strict about reuse.
type audienceServer struct {
	t *testing.T

	mu      sync.Mutex
	user    string
	serial  int
	refresh string          // the one that is good
	access  map[string]bool // "user audience serial"
	calls   map[string]int  // by audience
	reuses  int
	hooks   *tokenclient.Hooks
}

const audienceLife = 10 * time.Minute

// origins of the APIs.
var audienceOrigins = map[string]string{"": "http://localhost:1", "mail": "http://localhost:2", "files": "http://localhost:3"}

func (s *audienceServer) login(user string) *tokenclient.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = user
	return s.issueLocked("")
}

func (s *audienceServer) issueLocked(audience string) *tokenclient.Token {
	s.serial++
	s.refresh = fmt.Sprintf("refresh %s %d", s.user, s.serial)
	access := fmt.Sprintf("%s %s %d", s.user, audience, s.serial)
	s.access[access] = true
	now := time.Now()
	return &tokenclient.Token{AccessToken: access, RefreshToken: s.refresh, Issued: now, Expiry: now.Add(audienceLife)}
}

// For returns the Refresher of an audience.
func (s *audienceServer) For(audience string) tokenclient.Refresher {
	return tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
		time.Sleep(200 * time.Millisecond)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[audience]++
		if old.RefreshToken != s.refresh {
			s.reuses++
			return nil, &tokenclient.TokenError{StatusCode: 400, Code: "invalid_grant", Err: tokenclient.ErrLoginRequired}
		}
		return s.issueLocked(audience), nil
	})
}

// RoundTrip answers as the APIs: each takes its own audience's tokens.
func (s *audienceServer) RoundTrip(req *http.Request) (*http.Response, error) {
	audience, status := "?", http.StatusUnauthorized
	for name, origin := range audienceOrigins {
		if origin == "http://"+req.URL.Host {
			audience = name
		}
	}
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	ok := s.access[token]
	s.mu.Unlock()
	if ok && strings.Split(token, " ")[1] == audience {
		status = http.StatusOK
	}
	resp := sessiontest.Reply(req, status)
	resp.Header = http.Header{"X-User": {strings.Split(token, " ")[0]}}
	return resp, nil
}

func newAudienceServer(t *testing.T) *audienceServer {
	return &audienceServer{t: t, access: make(map[string]bool), calls: make(map[string]int)}
}

// session is a process that uses s.
func (s *audienceServer) session(kept tokenclient.Store) *tokenclient.Session {
	c := tokenclient.Config{
		Refresher: s.For(""), Origins: []string{audienceOrigins[""]}, Store: kept, Hooks: s.hooks,
		Audiences: []tokenclient.Audience{
			{Name: "mail", Refresher: s.For("mail"), Origins: []string{audienceOrigins["mail"]}},
			{Name: "files", Refresher: s.For("files"), Origins: []string{audienceOrigins["files"]}},
		},
	}
	if kept != nil {
		c.Key = "alice"
	}
	session, err := tokenclient.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return session
}

// get asks the API of an audience and returns whose token it took.
func (s *audienceServer) get(session *tokenclient.Session, audience string) (user string, err error) {
	client := session.Wrap(&http.Client{Transport: s})
	resp, err := client.Get(audienceOrigins[audience])
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%q: status %d", audience, resp.StatusCode)
	}
	return resp.Header.Get("X-User"), nil
}

func (s *audienceServer) want(what string, calls map[string]int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reuses != 0 {
		s.t.Errorf("%s: %d spent tokens were presented", what, s.reuses)
	}
	for audience, n := range calls {
		if s.calls[audience] != n {
			s.t.Errorf("%s: %d refreshes for %q, want %d", what, s.calls[audience], audience, n)
		}
	}
}

// TestAudiences: one login, one refresh token that rotates with each access token, three APIs,
// many requests at the same time in several processes. Each request has its API's token, and
// each token is made once in its lifetime.
func TestAudiences(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	for name, stored := range map[string]func() tokenclient.Store{
		"no store": func() tokenclient.Store { return nil },
		"memory":   func() tokenclient.Store { return new(store.Memory) },
		"file": func() tokenclient.Store {
			file, err := store.NewFile(dir, store.Plaintext())
			if err != nil {
				t.Fatal(err)
			}
			return file
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv, kept := newAudienceServer(t), stored()
			processes := []*tokenclient.Session{srv.session(kept)}
			if kept != nil {
				processes = append(processes, srv.session(kept), srv.session(kept))
			}
			if err := processes[0].SetToken(t.Context(), srv.login("alice")); err != nil {
				t.Fatal(err)
			}
			for round := range 4 {
				var wg sync.WaitGroup
				for i := range 90 {
					wg.Go(func() {
						random := rand.New(rand.NewPCG(uint64(round), uint64(i)))
						for range 5 {
							time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
							audience := []string{"", "mail", "files"}[random.IntN(3)]
							if user, err := srv.get(processes[i%len(processes)], audience); err != nil || user != "alice" {
								t.Errorf("%s: %q: %q, %v", name, audience, user, err)
							}
						}
					})
				}
				wg.Wait()
				srv.want(fmt.Sprint(name, ", round ", round), map[string]int{"": round, "mail": round + 1, "files": round + 1})
				time.Sleep(audienceLife)
			}
			for _, p := range processes {
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if kept == nil {
				return
			}
			before := srv.calls["mail"]
			next := srv.session(kept)
			for range 2 {
				if user, err := srv.get(next, "mail"); err != nil || user != "alice" {
					t.Errorf("%s: after a restart: %q, %v", name, user, err)
				}
			}
			srv.want(name+", after a restart", map[string]int{"mail": before + 1}) // the old one has expired
			if err := next.Close(t.Context()); err != nil {
				t.Error(err)
			}
			again := srv.session(kept)
			defer func() { _ = again.Close(t.Context()) }()
			if _, err := srv.get(again, "mail"); err != nil {
				t.Error(err)
			}
			srv.want(name+", after another restart", map[string]int{"mail": before + 1})
		})
	}
}

// TestAudienceLogins: a login and a logout are those of all audiences, here and elsewhere.
func TestAudienceLogins(t *testing.T) {
	for _, kept := range []tokenclient.Store{nil, new(store.Memory)} {
		synctest.Test(t, func(t *testing.T) {
			srv := newAudienceServer(t)
			here := srv.session(kept)
			defer func() { _ = here.Close(t.Context()) }()
			all := []string{"mail", "", "files"}
			want := func(session *tokenclient.Session, user string) {
				t.Helper()
				for _, audience := range all {
					got, err := srv.get(session, audience)
					if got != user || user == "" && !errors.Is(err, tokenclient.ErrLoginRequired) || user != "" && err != nil {
						t.Errorf("%q: %q, %v, want %q", audience, got, err, user)
					}
				}
			}
			set := func(session *tokenclient.Session, user string) {
				t.Helper()
				if err := session.SetToken(t.Context(), srv.login(user)); err != nil {
					t.Fatal(err)
				}
			}
			want(here, "")
			time.Sleep(2 * time.Second)
			set(here, "alice")
			want(here, "alice")
			set(here, "bob") // over alice's
			want(here, "bob")
			if err := here.Logout(t.Context()); err != nil {
				t.Error(err)
			}
			want(here, "")
			time.Sleep(2 * time.Second)
			want(here, "")
			set(here, "carol")
			want(here, "carol")
			srv.want("here", nil)
			if kept == nil {
				return
			}
			there := srv.session(kept)
			defer func() { _ = there.Close(t.Context()) }()
			want(there, "carol")
			set(there, "dave")
			want(there, "dave")
			time.Sleep(2 * audienceLife) // here, the token has expired, and the store is asked
			want(here, "dave")
			if err := there.Logout(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * audienceLife)
			want(here, "")
			set(there, "erin")
			time.Sleep(2 * time.Second)
			want(here, "erin")
			srv.want("there", nil)
		})
	}
}

// TestAudienceKept: a refresh of the login's own token keeps those of the audiences.
func TestAudienceKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, kept := newAudienceServer(t), new(store.Memory)
		session := srv.session(kept)
		if err := session.SetToken(t.Context(), srv.login("alice")); err != nil {
			t.Fatal(err)
		}
		if _, err := srv.get(session, "mail"); err != nil {
			t.Error(err)
		}
		if _, err := session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		for range 2 {
			if _, err := srv.get(session, "mail"); err != nil {
				t.Error(err)
			}
			if err := session.Close(t.Context()); err != nil {
				t.Error(err)
			}
			session = srv.session(kept)
		}
		srv.want("after a refresh and two restarts", map[string]int{"": 1, "mail": 1})
		_ = session.Close(t.Context())
	})
}

// TestAudienceLearnsFirst: what a request of one audience learns of another process's login, the
// whole session knows.
func TestAudienceLearnsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, kept := newAudienceServer(t), new(store.Memory)
		here, there := srv.session(kept), srv.session(kept)
		for _, s := range []*tokenclient.Session{here, there} {
			defer func() { _ = s.Close(t.Context()) }()
		}
		if err := here.SetToken(t.Context(), srv.login("alice")); err != nil {
			t.Fatal(err)
		}
		for audience := range audienceOrigins {
			if _, err := srv.get(here, audience); err != nil {
				t.Error(err)
			}
		}
		if err := there.SetToken(t.Context(), srv.login("bob")); err != nil {
			t.Fatal(err)
		}
		srv.mu.Lock()
		for access := range srv.access {
			if strings.HasPrefix(access, "alice mail") {
				delete(srv.access, access)
			}
		}
		srv.mu.Unlock()
		_, _ = srv.get(here, "mail") // is refused, and finds bob's
		synctest.Wait()
		for audience := range audienceOrigins {
			if user, err := srv.get(here, audience); err != nil || user != "bob" {
				t.Errorf("%q: %q, %v", audience, user, err)
			}
		}
		srv.want("in the end", nil)
	})
}

// TestAudienceNotSaved: a refresh for one audience whose result cannot be stored leaves nobody
// in this process with a refresh token that is spent.
func TestAudienceNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, kept := newAudienceServer(t), new(unsavedStore)
		session := srv.session(kept)
		if err := session.SetToken(t.Context(), srv.login("alice")); err != nil {
			t.Fatal(err)
		}
		kept.set(1)
		for _, audience := range []string{"mail", "files", "mail"} {
			if _, err := srv.get(session, audience); err != nil {
				t.Error(err)
			}
		}
		if _, err := session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		srv.want("not saved", map[string]int{"": 1, "mail": 1, "files": 1})
		time.Sleep(time.Hour)
		if err := session.Close(t.Context()); err != nil {
			t.Error(err)
		}
		next := srv.session(kept)
		defer func() { _ = next.Close(t.Context()) }()
		for audience := range audienceOrigins {
			if _, err := srv.get(next, audience); err != nil {
				t.Error(err)
			}
		}
		srv.want("the next process", nil)
	})
}

// TestAudiencePool: the users of a Pool have audiences of their own, and one settings for all.
func TestAudiencePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]*audienceServer{"alice": newAudienceServer(t), "bob": newAudienceServer(t)}
		var p *tokenclient.Pool
		p, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store: new(store.Memory), MaxRefreshes: 1,
			Config: func(_ context.Context, user string) (tokenclient.Config, error) {
				srv := servers[user]
				return tokenclient.Config{
					Refresher: srv.For(""), Origins: []string{audienceOrigins[""]},
					Audiences: []tokenclient.Audience{{Name: "mail", Refresher: srv.For("mail"), Origins: []string{audienceOrigins["mail"]}}},
				}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close(t.Context()) }()
		for user, srv := range servers {
			session, err := p.Session(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			if err := session.SetToken(t.Context(), srv.login(user)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			var wg sync.WaitGroup
			for user, srv := range servers {
				client := &http.Client{Transport: p.Transport(srv)}
				for i := range 20 {
					wg.Go(func() {
						ctx := tokenclient.WithKey(t.Context(), user)
						req, _ := http.NewRequestWithContext(ctx, "GET", audienceOrigins[[]string{"", "mail"}[i%2]], nil)
						resp, err := client.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						_ = resp.Body.Close()
						if got := resp.Header.Get("X-User"); resp.StatusCode != 200 || got != user {
							t.Errorf("%s: %d, %q", user, resp.StatusCode, got)
						}
					})
				}
			}
			wg.Wait()
			time.Sleep(audienceLife)
		}
		for _, srv := range servers {
			srv.want("in the end", map[string]int{"": 2, "mail": 3})
		}
	})
}

// TestAudienceEnds: the end of a login is told once, and that of the program is none.
func TestAudienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAudienceServer(t)
		var ended []error
		srv.hooks = &tokenclient.Hooks{SessionEnded: func(err error) { ended = append(ended, err) }}
		want := func(what string, n int, target error) {
			t.Helper()
			synctest.Wait()
			if len(ended) != n || n > 0 && !errors.Is(ended[n-1], target) {
				t.Errorf("%s: told %v, want %d and %v", what, ended, n, target)
			}
		}
		start := func() *tokenclient.Session {
			session := srv.session(nil)
			if err := session.SetToken(t.Context(), srv.login("alice")); err != nil {
				t.Fatal(err)
			}
			for audience := range audienceOrigins {
				if _, err := srv.get(session, audience); err != nil {
					t.Error(err)
				}
			}
			return session
		}
		session := start()
		if err := session.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want("closed", 0, nil)
		session = start()
		if err := session.Logout(t.Context()); err != nil {
			t.Error(err)
		}
		want("logged out", 1, tokenclient.ErrLoggedOut)
		_ = session.Close(t.Context())
		want("closed after a logout", 1, tokenclient.ErrLoggedOut)
		session = start()
		srv.mu.Lock()
		srv.refresh = "another one"
		srv.access = make(map[string]bool)
		srv.mu.Unlock()
		time.Sleep(time.Minute)
		for range 2 {
			for _, audience := range []string{"mail", "", "files"} {
				if _, err := srv.get(session, audience); !errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("%q: %v", audience, err)
				}
			}
			time.Sleep(2 * time.Second)
		}
		want("refused", 2, tokenclient.ErrLoginRequired)
		_ = session.Close(t.Context())
		want("in the end", 2, tokenclient.ErrLoginRequired)
	})
}

// TestTokenFor is for protocols other than HTTP.
func TestTokenFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAudienceServer(t)
		session := srv.session(nil)
		defer func() { _ = session.Close(t.Context()) }()
		if err := session.SetToken(t.Context(), srv.login("alice")); err != nil {
			t.Fatal(err)
		}
		token, err := session.TokenFor(t.Context(), "mail")
		if err != nil || token.AccessToken != "alice mail 2" {
			t.Errorf("%v, %v", token, err)
		}
		if _, err := session.TokenFor(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), `no "other"`) {
			t.Errorf("another one: %v", err)
		}
		whole, err := session.Token(t.Context())
		if err != nil || whole.AccessToken != "alice  1" || whole.RefreshToken != token.RefreshToken {
			t.Errorf("the login's own: %v, %v", whole, err)
		}
	})
}
