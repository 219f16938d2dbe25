package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// serviceGrant is a grant that needs neither a login nor a refresh token.
type serviceGrant struct{}

func (serviceGrant) Params(context.Context, *tokenclient.Token) (url.Values, error) {
	return url.Values{"grant_type": {"client_credentials"}}, nil
}

// service starts a server that makes tokens for serviceGrant, and takes the last one.
func service(t *testing.T) (srv *httptest.Server, issued, refused *atomic.Int32) {
	issued, refused = new(atomic.Int32), new(atomic.Int32)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if got := r.PostFormValue("grant_type") + r.PostFormValue("refresh_token"); got != "client_credentials" {
			t.Errorf("sent %q", got)
		}
		if refused.Load() > 0 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":3600}`, issued.Add(1))
	})
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", issued.Load()) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	srv = httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv, issued, refused
}

func serviceConfig(srv *httptest.Server, s tokenclient.Store) tokenclient.Config {
	c := tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL: srv.URL + "/token", ClientAuth: tokenclient.PublicClient("app"), Grant: serviceGrant{},
		},
		Origins: []string{srv.URL},
		Store:   s,
	}
	if s != nil {
		c.Key = "service"
	}
	return c
}

// TestService: a session whose grant needs no login never asks for one, with any store or
// none: the first request fetches a token, and the next ones use it.
func TestService(t *testing.T) {
	file, err := store.NewFile(filepath.Join(t.TempDir(), "tokens"), store.Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	for name, kept := range map[string]tokenclient.Store{"no store": nil, "memory": new(store.Memory), "file": file} {
		t.Run(name, func(t *testing.T) {
			srv, issued, _ := service(t)
			s, err := tokenclient.New(serviceConfig(srv, kept))
			if err != nil {
				t.Fatal(err)
			}
			get := func() int {
				resp, err := s.Client().Get(srv.URL + "/api")
				if err != nil {
					t.Error(err)
					return 0
				}
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if status := get(); status != http.StatusOK {
						t.Errorf("status %d", status)
					}
				})
			}
			wg.Wait()
			if n := issued.Load(); n != 1 {
				t.Errorf("%d tokens were made, want 1", n)
			}
			issued.Add(1) // the server takes another one by now
			if status := get(); status != http.StatusOK || issued.Load() != 3 {
				t.Errorf("after a refusal: status %d, %d tokens", status, issued.Load())
			}
			if err := s.Logout(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Token(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("after a logout: %v", err)
			}
			if err := s.SetToken(t.Context(), new(tokenclient.Token)); err != nil {
				t.Error(err)
			}
			if status := get(); status != http.StatusOK || issued.Load() != 4 {
				t.Errorf("after a login: status %d, %d tokens", status, issued.Load())
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if kept == nil {
				return
			}
			if s, err = tokenclient.New(serviceConfig(srv, kept)); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close(t.Context()) }()
			if status := get(); status != http.StatusOK || issued.Load() != 4 {
				t.Errorf("the next run: status %d, %d tokens", status, issued.Load())
			}
		})
	}
}

// TestServiceRefused: nothing that the server says of such a grant is mended by a login.
func TestServiceRefused(t *testing.T) {
	srv, _, refused := service(t)
	refused.Store(1)
	s, err := tokenclient.New(serviceConfig(srv, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	var te *tokenclient.TokenError
	if _, err := s.Token(t.Context()); !errors.As(err, &te) || te.Code != "invalid_grant" || errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("error %v", err)
	}
	refused.Store(0)
	if _, err := s.Refresh(t.Context()); err != nil {
		t.Errorf("when the server is well again: %v", err)
	}
}

// TestServicePool: a Pool's sessions start without a login too.
func TestServicePool(t *testing.T) {
	srv, issued, _ := service(t)
	p, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: new(store.Memory),
		Config: func(context.Context, string) (tokenclient.Config, error) {
			return serviceConfig(srv, nil), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()
	client := &http.Client{Transport: p.Transport(nil)}
	for i, tenant := range []string{"a", "b", "a"} {
		req, _ := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), tenant), "GET", srv.URL+"/api", nil)
		if i == 2 {
			issued.Store(1) // the server takes a's
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", tenant, resp.StatusCode)
		}
	}
}

// overtakenStore has other happen after the first Load.
type overtakenStore struct {
	tokenclient.Store
	other func()
}

func (s *overtakenStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	r, err := s.Store.Load(ctx, key)
	if other := s.other; other != nil {
		s.other = nil
		other()
	}
	return r, err
}

// needsNothing is a Refresher that can do without a token.
type needsNothing struct{}

func (needsNothing) CanRefresh(*tokenclient.Token) bool { return true }

func (needsNothing) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	return &tokenclient.Token{AccessToken: "nobody's"}, nil
}

// TestStartOverLogin: a session that needs no login, and finds nothing in its store, does not
// undo what another process has written by the time it starts.
func TestStartOverLogin(t *testing.T) {
	config := tokenclient.Config{Key: "key", Origins: []string{"https://api.example.com"}, Refresher: needsNothing{}}
	for name, c := range map[string]struct {
		other func(s *tokenclient.Session) error
		want  string // "": a login is needed
	}{
		"nothing": {func(*tokenclient.Session) error { return nil }, "nobody's"},
		"a login": {func(s *tokenclient.Session) error {
			return s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "alice's", RefreshToken: "alice's too"})
		}, "alice's"},
		"a start": {func(s *tokenclient.Session) error {
			return s.SetToken(t.Context(), &tokenclient.Token{})
		}, "nobody's"},
		"a logout": {func(s *tokenclient.Session) error { return s.Logout(t.Context()) }, ""},
	} {
		kept := new(store.Memory)
		config.Store = kept
		other, err := tokenclient.New(config)
		if err != nil {
			t.Fatal(err)
		}
		config.Store = &overtakenStore{kept, func() {
			if err := c.other(other); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}}
		s, err := tokenclient.New(config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Token(t.Context())
		stored, _ := kept.Load(t.Context(), "key")
		if c.want == "" {
			if !errors.Is(err, tokenclient.ErrLoginRequired) || stored.State != tokenclient.LoggedOut {
				t.Errorf("%s: %v, %v, stored %v", name, got, err, stored.State)
			}
		} else if err != nil || got.AccessToken != c.want || stored.Token == nil || stored.Token.AccessToken != c.want {
			t.Errorf("%s: %v, %v, stored %v", name, got, err, stored.State)
		}
		for _, s := range []*tokenclient.Session{s, other} {
			if err := s.Close(t.Context()); err != nil {
				t.Errorf("%s: Close: %v", name, err)
			}
		}
	}
}

// TestStartOverSealedLogin: nor does it undo a login that it cannot read, because the key that
// sealed it is not its own, or has not come here yet.
func TestStartOverSealedLogin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	open := func(id string) tokenclient.Store {
		key, err := store.KeyBytes(id, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		files, err := store.NewFile(dir, store.Seal(key))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	theirs := open("theirs")
	login := &tokenclient.Token{AccessToken: "alice's", RefreshToken: "alice's too"}
	s, err := tokenclient.New(tokenclient.Config{
		Key: "key", Origins: []string{"https://api.example.com"}, Refresher: needsNothing{},
		Store: &overtakenStore{open("mine"), func() {
			if _, _, err := theirs.Replace(t.Context(), "key", login); err != nil {
				t.Error(err)
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Token(t.Context()); !errors.Is(err, tokenclient.ErrStoreUnavailable) {
		t.Errorf("%v, %v; want ErrStoreUnavailable", got, err)
	}
	if r, err := theirs.Load(t.Context(), "key"); err != nil || r.Token.RefreshToken != login.RefreshToken {
		t.Errorf("the login is gone: %v, %v", r.State, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStartOverOldStore: a Store that cannot begin is told from one that has nothing.
func TestStartOverOldStore(t *testing.T) {
	s, err := tokenclient.New(tokenclient.Config{
		Key: "key", Origins: []string{"https://api.example.com"}, Refresher: needsNothing{}, Store: &startlessStore{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Token(t.Context()); !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("%v, %v; want ErrStoreUnavailable", got, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// startlessStore is a Store whose Save knows no start.
type startlessStore struct{ store.Memory }

func (*startlessStore) Save(context.Context, string, tokenclient.Record, *tokenclient.Token) (tokenclient.Record, error) {
	return tokenclient.Record{}, tokenclient.ErrNoToken
}
