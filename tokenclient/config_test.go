package tokenclient_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// pointerAttacher cannot work without its pointer.
type pointerAttacher struct{ name string }

func (a *pointerAttacher) HeaderName() string { return a.name }

func (a *pointerAttacher) Attach(*http.Request, *tokenclient.Token) error { return nil }

// TestConfigErrors: every mistake is found by New, and the error names the field
// and what to write there.
func TestConfigErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tokenclient.Config)
		want   []string
	}{
		"no Refresher":        {func(c *tokenclient.Config) { c.Refresher = nil }, []string{"Config.Refresher", "*JSONRefresher", "*OAuth2Refresher"}},
		"nil OAuth2Refresher": {func(c *tokenclient.Config) { c.Refresher = (*tokenclient.OAuth2Refresher)(nil) }, []string{"Config.Refresher"}},
		"nil JSONRefresher":   {func(c *tokenclient.Config) { c.Refresher = (*tokenclient.JSONRefresher)(nil) }, []string{"Config.Refresher"}},
		"nil RefresherFunc":   {func(c *tokenclient.Config) { c.Refresher = tokenclient.RefresherFunc(nil) }, []string{"Config.Refresher"}},
		"nil Memory":          {func(c *tokenclient.Config) { c.Store, c.Key = (*store.Memory)(nil), "k" }, []string{"Config.Store", "nil pointer"}},
		"Store without Key":   {func(c *tokenclient.Config) { c.Store = new(store.Memory) }, []string{"Config.Key", "whose token"}},
		"Key without Store":   {func(c *tokenclient.Config) { c.Key = "k" }, []string{"Config.Key", "without a Store"}},
		"nil Attacher":        {func(c *tokenclient.Config) { c.Attacher = (*pointerAttacher)(nil) }, []string{"Config.Attacher", "nil pointer"}},
		"empty header":        {func(c *tokenclient.Config) { c.Attacher = tokenclient.HeaderAttacher("") }, []string{"Config.Attacher", "HeaderAttacher(\"\")"}},
		"bad header":          {func(c *tokenclient.Config) { c.Attacher = tokenclient.HeaderAttacher("X Auth") }, []string{"Config.Attacher", "not a header name"}},
		"header with colon":   {func(c *tokenclient.Config) { c.Attacher = &pointerAttacher{"X:"} }, []string{"Config.Attacher", "not a header name"}},
		"no Origins":          {func(c *tokenclient.Config) { c.Origins = nil }, []string{"Config.Origins", `Origins: []string{"https://api.example.com"}`}},
		"empty Origins":       {func(c *tokenclient.Config) { c.Origins = []string{} }, []string{"Config.Origins"}},
		"both":                {func(c *tokenclient.Config) { c.AnyOrigin = true }, []string{"Origins and AnyOrigin"}},
		"bad second origin":   {func(c *tokenclient.Config) { c.Origins = append(c.Origins, "x") }, []string{"Config.Origins", `"x"`, "https://api.example.com"}},
		"plain http":          {func(c *tokenclient.Config) { c.Origins = []string{"http://api.example.com"} }, []string{"Config.Origins", "plain http", "Config.InsecureHTTP"}},
		"scheme in Hosts":     {func(c *tokenclient.Config) { c.Hosts = []string{"https://tenant.example.com"} }, []string{"Config.Hosts", "scheme", "api.example.com:8443"}},
		"negative timeout":    {func(c *tokenclient.Config) { c.RefreshTimeout = -1 }, []string{"Config.RefreshTimeout", "negative"}},
		"endless timeout":     {func(c *tokenclient.Config) { c.RefreshTimeout = math.MaxInt64 }, []string{"Config.RefreshTimeout", "1h0m0s"}},
		"negative heartbeat":  {func(c *tokenclient.Config) { c.Heartbeat = -time.Second }, []string{"Config.Heartbeat", "negative", "-1s"}},
	} {
		c := tokenclient.Config{Refresher: sessiontest.Refresher(), Origins: []string{"https://api.example.com"}}
		tc.change(&c)
		s, err := tokenclient.New(c)
		if err == nil || s != nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range append(tc.want, "tokenclient: ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", name, err, want)
			}
		}
	}
	if _, err := tokenclient.New(tokenclient.Config{}); err == nil {
		t.Error("the zero Config makes a session")
	}
}

// TestConfigAccepts: what must not be an error.
func TestConfigAccepts(t *testing.T) {
	for name, change := range map[string]func(*tokenclient.Config){
		"least":                   func(*tokenclient.Config) {},
		"any origin":              func(c *tokenclient.Config) { c.Origins, c.AnyOrigin = nil, true },
		"same origin twice":       func(c *tokenclient.Config) { c.Origins = append(c.Origins, c.Origins[0]) },
		"loopback":                func(c *tokenclient.Config) { c.Origins = []string{"http://localhost:8080", "http://[::1]"} },
		"insecure":                func(c *tokenclient.Config) { c.Origins, c.InsecureHTTP = []string{"http://10.0.0.1"}, true },
		"hosts":                   func(c *tokenclient.Config) { c.Hosts = []string{"tenant.example.com:8443", "[::1]"} },
		"hosts of any origin":     func(c *tokenclient.Config) { c.Origins, c.AnyOrigin, c.Hosts = nil, true, []string{"h"} },
		"store and key":           func(c *tokenclient.Config) { c.Store, c.Key = new(store.Memory), "\x00/../ä" },
		"never early":             func(c *tokenclient.Config) { c.RefreshBefore = -1 },
		"Attacher by value":       func(c *tokenclient.Config) { c.Attacher = sessiontest.AttacherFunc(nil) },
		"refresher by value":      func(c *tokenclient.Config) { c.Refresher = valueRefresher{} },
		"attacher without name":   func(c *tokenclient.Config) { c.Attacher = &pointerAttacher{} },
		"zero hooks":              func(c *tokenclient.Config) { c.Hooks = new(tokenclient.Hooks) },
		"long timeout, no logger": func(c *tokenclient.Config) { c.RefreshTimeout = time.Hour },
	} {
		c := tokenclient.Config{Refresher: sessiontest.Refresher(), Origins: []string{"https://api.example.com"}}
		change(&c)
		s, err := tokenclient.New(c)
		if name == "Attacher by value" { // a nil func is as bad as a nil pointer
			if err == nil {
				t.Errorf("%s: no error for a nil func", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
}

// valueRefresher is a Refresher that is no pointer.
type valueRefresher struct{}

func (valueRefresher) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	return &tokenclient.Token{AccessToken: "x"}, nil
}

// TestConfigIsCopied: later changes of what New was given have no effect.
func TestConfigIsCopied(t *testing.T) {
	origins := []string{"https://api.example.com"}
	var replayed int
	done := make(chan struct{}, 1)
	hooks := &tokenclient.Hooks{Replayed: func(string, string) { replayed++; done <- struct{}{} }}
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins, c.Hooks = origins, hooks })
	origins[0] = "https://evil.example.com"
	hooks.Replayed = func(string, string) { t.Error("a hook that was set later") }
	base := sessiontest.NewBase(401, 200)
	for _, url := range []string{sessiontest.URL, "https://evil.example.com/"} {
		if _, err := s.Wrap(&http.Client{Transport: base}).Get(url); err != nil {
			t.Fatal(err)
		}
	}
	if <-done; replayed != 1 || base.Sent[2].Auth != nil {
		t.Errorf("%d replays; the other host got %q", replayed, base.Sent[2].Auth)
	}
}

// TestConfigZeroValues: a zero Session in a Transport and a nil one are errors or
// nothing, never a panic.
func TestConfigZeroValues(t *testing.T) {
	body := sessiontest.NewBody("x")
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
	_, err := new(tokenclient.Transport).RoundTrip(req)
	if err == nil || !strings.Contains(err.Error(), "Transport.Session is nil") || !strings.Contains(err.Error(), "Session.Wrap") {
		t.Errorf("error %v, want one that says what to do", err)
	}
	if body.Closed.Load() != 1 {
		t.Error("the body is open")
	}
	new(tokenclient.Transport).CloseIdleConnections()
	var none *tokenclient.Token
	if none.Clone() != nil {
		t.Error("Clone of nil is not nil")
	}
	if err := sessiontest.LoggedIn(t, nil).SetToken(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "Logout") {
		t.Errorf("SetToken(nil): %v", err)
	}
}
