package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestBinding: what a login's tokens are bound to goes with them to the store, the refresher
// and the attacher, of audiences too, stays with refreshes and renewals, and is another one
// with another login.
func TestBinding(t *testing.T) {
	var seen []string
	refresh := tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
		seen = append(seen, old.Binding)
		return &tokenclient.Token{AccessToken: "a" + old.RefreshToken, RefreshToken: old.RefreshToken + "+", Expiry: time.Now().Add(time.Hour)}, nil
	})
	mem := new(store.Memory)
	session := func(renewed bool) *tokenclient.Session {
		c := tokenclient.Config{Refresher: refresh, Store: mem, Key: "alice", Origins: []string{"https://api.example.com"}, Attacher: bindingAttacher{&seen}}
		if renewed {
			c.Renewed = tokenclient.RenewedHeader("X-New")
		} else {
			c.Audiences = []tokenclient.Audience{{Name: "mail", Refresher: refresh, Origins: []string{"https://mail.example.com"}}}
		}
		s, err := tokenclient.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
		return s
	}
	get := func(s *tokenclient.Session, url string) {
		t.Helper()
		base := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, 200)
			resp.Header.Set("X-New", "renewed")
			return resp, nil
		})
		resp, err := s.Wrap(&http.Client{Transport: base}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	stored := func(want string) {
		t.Helper()
		r, err := mem.Load(t.Context(), "alice")
		if err != nil || r.Token.Binding != want || r.Token.Audiences["mail"].Token != nil && r.Token.Audiences["mail"].Token.Binding != "" {
			t.Errorf("%v, stored with %q, want %q", err, r.Token.Binding, want)
		}
	}
	for _, binding := range []string{"key:one", "key:two"} {
		s := session(false)
		if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "a", RefreshToken: "r", Binding: binding}); err != nil {
			t.Fatal(err)
		}
		stored(binding)
		seen = nil
		get(s, "https://api.example.com/")  // attach
		get(s, "https://mail.example.com/") // refresh, attach
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		get(s, "https://api.example.com/")
		if len(seen) != 5 {
			t.Errorf("%d calls", len(seen))
		}
		stored(binding)
		other := session(true) // another process, whose server renews
		get(other, "https://api.example.com/")
		get(other, "https://api.example.com/")
		if err := other.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, got := range seen {
			if got != binding {
				t.Errorf("seen %q, want %q each time", seen, binding)
			}
		}
		stored(binding)
	}
	if err := session(false).SetToken(t.Context(), &tokenclient.Token{AccessToken: "a", Binding: "key:\n"}); err == nil {
		t.Error("a binding that cannot be written")
	}
}

type bindingAttacher struct{ seen *[]string }

func (bindingAttacher) HeaderName() string { return "Authorization" }

func (a bindingAttacher) Attach(_ *http.Request, t *tokenclient.Token) error {
	*a.seen = append(*a.seen, t.Binding)
	return nil
}

// TestBindingMended: a session whose token is bound to what is lost takes over the login of
// another process with the next request, however long its own token lives.
func TestBindingMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		login := func(binding string) {
			t.Helper()
			token := sessiontest.Pair("a-"+binding, "r", 1000*time.Hour)
			token.Binding = binding
			if _, _, err := mem.Replace(t.Context(), "alice", token); err != nil {
				t.Fatal(err)
			}
		}
		login("lost")
		s, err := tokenclient.New(tokenclient.Config{
			Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				panic("there is nothing to refresh")
			}),
			Store: mem, Key: "alice", Origins: []string{"https://api.example.com"}, Attacher: lostKey{},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(context.WithoutCancel(t.Context())) }()
		base := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) { return sessiontest.Reply(req, 200), nil })
		get := func() error {
			resp, err := s.Wrap(&http.Client{Transport: base}).Get("https://api.example.com/")
			if err == nil {
				_ = resp.Body.Close()
			}
			synctest.Wait()
			return err
		}
		for _, now := range []string{"", "found"} {
			if now != "" {
				login(now)
				time.Sleep(time.Minute)
			}
			if err := get(); !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("%q: %v", now, err)
			}
		}
		if err := get(); err != nil {
			t.Error(err)
		}
	})
}

// lostKey does not find the key of tokens that are bound to "lost".
type lostKey struct{ tokenclient.Bearer }

func (a lostKey) Attach(req *http.Request, t *tokenclient.Token) error {
	if t.Binding == "lost" {
		return fmt.Errorf("%w: the key is lost", tokenclient.ErrLoginRequired)
	}
	return a.Bearer.Attach(req, t)
}
