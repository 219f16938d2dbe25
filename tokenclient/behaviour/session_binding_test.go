package behaviour_test

import (
	"context"
	"net/http"
	"testing"
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
