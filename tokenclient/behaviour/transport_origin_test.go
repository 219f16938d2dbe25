package behaviour_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// originHost is an API on a loopback port of its own: another origin, although
// net/http takes it for the same host. It redirects where the query says.
type originHost struct {
	*httptest.Server
	refuses bool // 401 to everything that does not redirect

	mu  sync.Mutex
	got []string // Authorization of each request
}

func newOriginHost(t *testing.T, refuses bool) *originHost {
	h := &originHost{refuses: refuses}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *originHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.mu.Lock()
	h.got = append(h.got, strings.Join(r.Header["Authorization"], "|"))
	h.mu.Unlock()
	if to := r.URL.Query().Get("to"); to != "" {
		w.Header().Set("Location", to)
		w.WriteHeader(307)
		return
	}
	if h.refuses {
		w.WriteHeader(401)
	}
}

func (h *originHost) seen() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.got, ", ")
}

// via is h's URL that redirects to next.
func (h *originHost) via(next string) string { return h.URL + "/?to=" + url.QueryEscape(next) }

const originToken = "Bearer access-0"

// TestOriginRedirects follows real redirects. The token stays with the origins
// that it may go to, and never comes back to a chain that has left them.
func TestOriginRedirects(t *testing.T) {
	const mine = "Basic bWluZTptaW5l"
	for _, tc := range []struct {
		name    string
		path    string // hosts in turn
		allowed string // "*": AnyOrigin
		set     string // Authorization by the caller
		without bool
		want    map[string]string // by host, in turn
	}{
		{name: "away", path: "AB", allowed: "A", want: map[string]string{"A": "T", "B": "-"}},
		{name: "away and back", path: "ABA", allowed: "A", want: map[string]string{"A": "T, -", "B": "-"}},
		{name: "away and back to another allowed", path: "ABC", allowed: "AC", want: map[string]string{"A": "T", "B": "-", "C": "-"}},
		{name: "to another allowed", path: "AC", allowed: "AC", want: map[string]string{"A": "T", "C": "T"}},
		{name: "same origin", path: "AAA", allowed: "A", want: map[string]string{"A": "T, T, T"}},
		{name: "from outside", path: "BA", allowed: "A", want: map[string]string{"A": "-", "B": "-"}},
		{name: "from outside, twice inside", path: "BAA", allowed: "A", want: map[string]string{"A": "-, -", "B": "-"}},
		{name: "long way back", path: "ABBAA", allowed: "A", want: map[string]string{"A": "T, -, -", "B": "-, -"}},
		{name: "any origin, away", path: "AB", allowed: "*", want: map[string]string{"A": "T", "B": "-"}},
		{name: "any origin, same", path: "AA", allowed: "*", want: map[string]string{"A": "T, T"}},
		{name: "any origin, away and back", path: "ABA", allowed: "*", want: map[string]string{"A": "T, -", "B": "-"}},
		{name: "any origin, away and on", path: "ABB", allowed: "*", want: map[string]string{"A": "T", "B": "-, -"}},
		// net/http copies the header from port to port: the caller chose so.
		{name: "set by the caller", path: "AA", allowed: "A", set: mine, want: map[string]string{"A": "M, M"}},
		{name: "set by the caller, away and back", path: "ABA", allowed: "AB", set: mine, want: map[string]string{"A": "M, M", "B": "M"}},
		{name: "WithoutToken", path: "AAC", allowed: "AC", without: true, want: map[string]string{"A": "-, -", "C": "-"}},
	} {
		for _, refuses := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/401 %v", tc.name, refuses), func(t *testing.T) {
				hosts := map[string]*originHost{}
				for _, name := range []string{"A", "B", "C"} {
					hosts[name] = newOriginHost(t, refuses && !strings.Contains(tc.allowed, name) && name == "B")
				}
				s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
					c.Origins = nil
					for _, name := range tc.allowed {
						if c.AnyOrigin = name == '*'; !c.AnyOrigin {
							c.Origins = append(c.Origins, hosts[string(name)].URL)
						}
					}
				})
				last := len(tc.path) - 1
				target := hosts[tc.path[last:]].URL
				for i := last - 1; i >= 0; i-- {
					target = hosts[tc.path[i:i+1]].via(target)
				}
				ctx := t.Context()
				if tc.without {
					ctx = tokenclient.WithoutToken(ctx)
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader("body"))
				if tc.set != "" {
					req.Header.Set("Authorization", tc.set)
				}
				resp, err := s.Wrap(hosts["A"].Client()).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				for name, want := range tc.want {
					got := strings.NewReplacer(originToken, "T", mine, "M").Replace(hosts[name].seen())
					if want = strings.ReplaceAll(want, "-", ""); got != want {
						t.Errorf("%s got %q, want %q", name, got, want)
					}
				}
				if now, err := s.Peek(t.Context()); err != nil || now.AccessToken != sessiontest.Access(0) {
					t.Errorf("a host that the token does not belong to started a refresh: %v, %v", now, err)
				}
			})
		}
	}
}

// TestOriginHeaderGone: net/http drops the caller's header when a redirect leaves
// the host. The session's token must not take its place.
func TestOriginHeaderGone(t *testing.T) {
	var got []string
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Origins = []string{"https://a.example", "https://b.example"}
	})
	client := s.Wrap(&http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		got = append(got, strings.Join(req.Header["Authorization"], "|"))
		resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}
		if req.URL.Host == "a.example" && len(got) == 1 {
			resp.StatusCode = 302
			resp.Header.Set("Location", "https://b.example/")
		}
		return resp, nil
	})})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example/", nil)
	req.Header.Set("Authorization", "Basic x")
	if _, err := client.Do(req); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, ", ") != "Basic x, " {
		t.Errorf("Authorization was %q", got)
	}
}

// TestOriginOwnEndpoint: what goes to the session's own token endpoint is part of
// a refresh and goes bare; what only looks like it does not.
func TestOriginOwnEndpoint(t *testing.T) {
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Refresher = &tokenclient.OAuth2Refresher{
			TokenURL: "https://api.example.com/token?tenant=1", RevocationURL: "https://API.example.com:443/revoke",
			ClientAuth: tokenclient.PublicClient("x"),
		}
	})
	for target, bare := range map[string]bool{
		"https://api.example.com/token":         true,
		"https://api.example.com/token?other=2": true,
		"https://api.example.com:443/token":     true,
		"https://api.example.com/revoke":        true,
		"https://api.example.com/token/more":    false,
		"https://api.example.com/":              false,
	} {
		base := sessiontest.NewBase(200)
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, target, nil)
		if _, err := s.Transport(base).RoundTrip(req); err != nil || (base.Sent[0].Auth == nil) != bare {
			t.Errorf("%s: error %v, sent %q", target, err, base.Sent[0].Auth)
		}
	}
}

// TestOriginProxy: plain http to this machine is safe, unless a proxy elsewhere is asked
// to go there. Before, the proxy got the token.
func TestOriginProxy(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Origins, c.InsecureHTTP = []string{"http://localhost:8080"}, insecure
		})
		w := new(wire.Wire)
		base := w.Transport()
		base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:3128"})
		body := sessiontest.NewBody("x")
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:8080/", body)
		resp, err := s.Transport(base).RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		sent := w.Sent()
		switch {
		case !insecure && (err == nil || len(sent) > 0 || body.Closed.Load() != 1):
			t.Errorf("sent %+v, error %v", sent, err)
		case !insecure && (!strings.Contains(err.Error(), "http://proxy.example:3128") || !strings.Contains(err.Error(), "Config.InsecureHTTP")):
			t.Errorf("error %q does not say what to do", err)
		case insecure && (err != nil || sent[0].Addr != "proxy.example:3128" || !strings.Contains(sent[0].Head, originToken)):
			t.Errorf("InsecureHTTP: sent %+v, error %v", sent, err)
		}
		bare, _ := http.NewRequestWithContext(tokenclient.WithoutToken(t.Context()), http.MethodGet, "http://localhost:8080/", nil)
		resp, err = s.Transport(base).RoundTrip(bare)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}
