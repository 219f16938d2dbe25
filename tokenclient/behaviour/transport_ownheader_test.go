package behaviour_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Many clients insist on setting the header: those that are given a token, or something
// to ask for one, and put it on each request themselves. The Transport kept away from
// all of that, and when the token had expired their 401s were final.

// sentAs returns all values that went out under name, in whatever spelling.
func sentAs(h http.Header, name string) (values []string) {
	for key, v := range h {
		if strings.EqualFold(key, name) {
			values = append(values, v...)
		}
	}
	return values
}

// TestOwnHeader: a header with a token of the session's in it is the session's, and any
// other is the caller's.
func TestOwnHeader(t *testing.T) {
	now, before := sessiontest.Access(2), sessiontest.Access(0)
	bearer, header := tokenclient.Attacher(nil), tokenclient.HeaderAttacher("X-Auth-Token")
	for _, tc := range []struct {
		name     string
		attacher tokenclient.Attacher
		key      string
		values   []string
		replace  bool // Config.ReplaceHeader
		ours     bool
	}{
		{"current", bearer, "Authorization", []string{"Bearer " + now}, false, true},
		{"former", bearer, "Authorization", []string{"Bearer " + before}, false, true},
		{"the one between", bearer, "Authorization", []string{"Bearer " + sessiontest.Access(1)}, false, true},
		{"scheme in lower case", bearer, "Authorization", []string{"bearer " + before}, false, true},
		{"another scheme", bearer, "Authorization", []string{"token " + before}, false, true},
		{"bare", bearer, "Authorization", []string{before}, false, true},
		{"spaces", bearer, "Authorization", []string{" Bearer   " + before + " "}, false, true},
		{"name in lower case", bearer, "authorization", []string{"Bearer " + before}, false, true},
		{"twice", bearer, "Authorization", []string{"Bearer " + before, "Bearer " + now}, false, true},
		{"header of its own", header, "X-Auth-Token", []string{before}, false, true},
		{"header of its own, lower case", header, "x-auth-token", []string{now}, false, true},

		{"a stranger's", bearer, "Authorization", []string{"Bearer mine"}, false, false},
		{"ours and a stranger's", bearer, "Authorization", []string{"Bearer " + before, "Bearer mine"}, false, false},
		{"a part of it", bearer, "Authorization", []string{"Bearer " + before[:len(before)-1]}, false, false},
		{"more than it", bearer, "Authorization", []string{"Bearer " + before + "0"}, false, false},
		{"in another case", bearer, "Authorization", []string{"Bearer " + strings.ToUpper(before)}, false, false},
		{"the refresh token", bearer, "Authorization", []string{"Bearer refresh-0"}, false, false},
		{"within Basic", bearer, "Authorization", []string{"Basic bWluZTptaW5l"}, false, false},
		{"among others", bearer, "Authorization", []string{`Digest token="` + before + `"`}, false, false},
		{"two schemes", bearer, "Authorization", []string{"Bearer Bearer " + before}, false, false},
		{"empty", bearer, "Authorization", []string{""}, false, false},
		{"a scheme alone", bearer, "Authorization", []string{"Bearer "}, false, false},
		{"no value", bearer, "Authorization", []string{}, false, false},
		{"nil", bearer, "Authorization", nil, false, false},

		{"ours wins", bearer, "Authorization", []string{"Bearer mine"}, true, true},
		{"ours wins, lower case", bearer, "authorization", []string{"Basic x"}, true, true},
		{"ours wins over nothing", bearer, "Authorization", nil, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
				c.Attacher, c.ReplaceHeader = tc.attacher, tc.replace
			})
			for range 2 {
				if _, err := s.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			// The token is young. What cannot be sent more than twice is not tried with it again.
			req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "stream", http.Header{tc.key: tc.values})
			base := sessiontest.NewBase(401, 200)
			resp, err := s.Transport(base).RoundTrip(req.Request)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			req.WantUnchanged(t)
			if resp.Request != req.Request {
				t.Error("the answer's Request is not the caller's")
			}
			scheme := "Bearer "
			if tc.attacher != nil {
				scheme = ""
			}
			want := [][]string{tc.values}
			if tc.ours {
				want = [][]string{{scheme + now}, {scheme + sessiontest.Access(3)}}
			}
			if len(base.Sent) != len(want) {
				t.Fatalf("sent %d times, want %d", len(base.Sent), len(want))
			}
			for i, sent := range base.Sent {
				if got := sentAs(sent.Request.Header, tc.key); !slices.Equal(got, want[i]) {
					t.Errorf("sending %d has %q, want %q", i+1, got, want[i])
				}
			}
		})
	}
}

// TestOwnHeaderForgotten: a token is known as long as there were not 16 others since, and
// no longer than to the logout: whoever logs in next may be somebody else.
func TestOwnHeaderForgotten(t *testing.T) {
	const most = 16
	s := sessiontest.LoggedIn(t, nil)
	ours := func(access string) bool {
		t.Helper()
		base := sessiontest.NewBase(200)
		req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "GetBody", http.Header{"Authorization": {"Bearer " + access}})
		resp, err := s.Transport(base).RoundTrip(req.Request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return base.Sent[0].Auth[0] != "Bearer "+access
	}
	for i := 1; i <= 2*most; i++ {
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for j := range i {
			if got, want := ours(sessiontest.Access(j)), i-j <= most; got != want {
				t.Errorf("after %d refreshes, token %d is ours: %v", i, j, got)
			}
		}
	}
	last := sessiontest.Access(2 * most)
	if err := s.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.SetToken(t.Context(), sessiontest.Pair("another", "r", 0)); err != nil {
		t.Fatal(err)
	}
	if ours(last) {
		t.Error("a token from before the logout is replaced by that of the next login")
	}
}

// stubborn is a client that was given a token, and sets it on each request.
type stubborn struct {
	base  http.RoundTripper
	token string
}

func (c stubborn) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+c.token)
	return c.base.RoundTrip(req)
}

// TestOwnHeaderEndToEnd: a client with a token that was revoked long ago sees no 401, also
// where the API redirects it.
func TestOwnHeaderEndToEnd(t *testing.T) {
	r := sessiontest.New(t, nil, nil)
	token := r.Login(t)
	client := &http.Client{Transport: stubborn{r.Session.Transport(r.Server.Client().Transport), token.AccessToken}}
	for i := range 3 {
		r.Server.RevokeAccess("alice")
		resp, err := client.Get(r.Server.URL + "/api/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("round %d: status %d", i, resp.StatusCode)
		}
	}
	r.WantRefreshes(t, 3)
}

// TestOwnHeaderRedirected: net/http sets the caller's header on each hop, and each hop of
// the same origin has the session's token in its place, once. Elsewhere goes what net/http
// sends there.
func TestOwnHeaderRedirected(t *testing.T) {
	var mu sync.Mutex
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, strings.Join(r.Header["Authorization"], "|"))
		mu.Unlock()
		if n := len(r.URL.Path); n < 4 {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		}
	}))
	defer srv.Close()
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{srv.URL} })
	if _, err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sessiontest.Access(0))
	resp, err := s.Wrap(srv.Client()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	want := "Bearer " + sessiontest.Access(1)
	if !slices.Equal(got, []string{want, want, want, want}) {
		t.Errorf("sent %q", got)
	}
}

// TestHeaderKeptIsTold: what the session keeps away from is told, once for each origin.
func TestHeaderKeptIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		var log bytes.Buffer
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Origins, c.AnyOrigin = nil, true
			c.Refresher = &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/token"}
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.Hooks = &tokenclient.Hooks{HeaderKept: func(origin, header string) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, origin+" "+header)
			}}
		})
		get := func(url, auth string, change func(*http.Request) *http.Request) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if auth != "" {
				req.Header.Set("Authorization", auth)
			}
			if change != nil {
				req = change(req)
			}
			resp, err := s.Transport(sessiontest.AlwaysOK).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		get("https://api.example.com/", "", nil)
		get("https://api.example.com/", "Bearer "+sessiontest.Access(0), nil)
		get("https://auth.example.com/token", "Basic secret", nil)
		get("https://api.example.com/", "Basic secret", func(req *http.Request) *http.Request {
			return req.WithContext(tokenclient.WithoutToken(req.Context()))
		})
		synctest.Wait()
		if len(told) > 0 || log.Len() > 0 {
			t.Errorf("told %q, log %s, although nothing was kept", told, log.String())
		}
		for range 3 {
			get("https://api.example.com/secret?a=secret", "Bearer secret", nil)
			get("https://other.example.com/", "Basic secret", nil)
		}
		synctest.Wait()
		want := []string{"https://api.example.com:443 Authorization", "https://other.example.com:443 Authorization"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 2 || strings.Contains(log.String(), "secret") {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		told = nil
		for i := range 100 {
			get(fmt.Sprintf("https://host-%d.example.net/", i), "Bearer secret", nil)
		}
		synctest.Wait()
		if len(told) != 30 {
			t.Errorf("told of %d more origins, want 30", len(told))
		}
	})
}

// TestOwnHeaderOfAudience: the tokens of one login are one session's, for whatever audience
// they are; each origin gets its own in their place.
func TestOwnHeaderOfAudience(t *testing.T) {
	const mail = "https://mail.example.com"
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Audiences = []tokenclient.Audience{{
			Name: "mail", Origins: []string{mail},
			Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				return &tokenclient.Token{AccessToken: "mail", RefreshToken: "refresh-mail"}, nil
			}),
		}}
	})
	if _, err := s.TokenFor(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ url, set, want string }{
		{mail, sessiontest.Access(0), "mail"},
		{mail, "mail", "mail"},
		{sessiontest.URL, "mail", sessiontest.Access(0)},
		{mail, "mine", "mine"},
	} {
		base := sessiontest.NewBase(200)
		req := sessiontest.NewRequest(t, t.Context(), tc.url, "GetBody", http.Header{"Authorization": {"Bearer " + tc.set}})
		resp, err := s.Transport(base).RoundTrip(req.Request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := base.Sent[0].Auth; len(got) != 1 || got[0] != "Bearer "+tc.want {
			t.Errorf("%s to %s: sent %q, want %s", tc.set, tc.url, got, tc.want)
		}
	}
}
