package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestConfigMistakes: what can never work is told by New, by the field and the remedy,
// and by a Pool when it loads the key. Nothing shows a secret.
func TestConfigMistakes(t *testing.T) {
	for _, m := range mistakes() {
		c := tokenclient.Config{Refresher: sessiontest.Refresher(), Origins: []string{"https://api.example.com"}}
		m.change(&c)
		s, err := tokenclient.New(c)
		if s != nil || err == nil {
			t.Errorf("%q: no error", m.name)
			continue
		}
		text := err.Error()
		if !strings.HasPrefix(text, "tokenclient: "+m.field) || !strings.Contains(text, m.remedy) || strings.Count(text, "tokenclient: ") != 1 {
			t.Errorf("%q: %q does not begin with %q and say %q", m.name, text, m.field, m.remedy)
		}
		if strings.Contains(strings.ToLower(text), "planted") {
			t.Errorf("%q: %q shows a secret", m.name, text)
		}
		p, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store:  new(store.Memory),
			Config: func(context.Context, string) (tokenclient.Config, error) { return c, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Session(t.Context(), "alice"); err == nil || err.Error() != `tokenclient: PoolConfig.Config of key "alice": `+text {
			t.Errorf("%q: a Pool says %v", m.name, err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("%q: Close: %v", m.name, err)
		}
	}
}

// TestConfigNoMistakes: what looks odd and works is no error.
func TestConfigNoMistakes(t *testing.T) {
	good := func() *tokenclient.OAuth2Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("app")}
	}
	changed := func(change func(*tokenclient.OAuth2Refresher)) tokenclient.Refresher {
		r := good()
		change(r)
		return r
	}
	fields := tokenclient.JSONFields{AccessToken: "data.access", RefreshToken: "data.refresh", ExpiresIn: "data.expires"}
	for name, r := range map[string]tokenclient.Refresher{
		"least":        good(),
		"least JSON":   &tokenclient.JSONRefresher{TokenURL: "http://localhost:8080/x"},
		"insecure":     changed(func(r *tokenclient.OAuth2Refresher) { r.TokenURL, r.InsecureHTTP = "http://10.0.0.1/token", true }),
		"query":        changed(func(r *tokenclient.OAuth2Refresher) { r.TokenURL += "?tenant={x} y" }),
		"scope apart":  changed(func(r *tokenclient.OAuth2Refresher) { r.Params = url.Values{"scope": {"x"}, "resource": {"a", "b"}} }),
		"own auth":     changed(func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = endpointAuth{} }),
		"empty secret": changed(func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = headerAuth{"Authorization": "Basic YXBwOg=="} }),
		"odd secret":   changed(func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = tokenclient.ClientSecretPost("ä p", " ü:+ ") }),
		"session's own": changed(func(r *tokenclient.OAuth2Refresher) {
			r.HTTPClient = &http.Client{Transport: new(tokenclient.Transport)}
		}),
		"embedded":     &wrapsOAuth2{good()},
		"overridden":   &needsNoURL{},
		"by interface": struct{ tokenclient.Refresher }{good()},
		"objects":      &tokenclient.JSONRefresher{TokenURL: "https://a/x", Request: tokenclient.RequestFields{AccessToken: "data.access", RefreshToken: "data.refresh"}, Response: fields},
		"JSON, OAuth":  &tokenclient.JSONRefresher{TokenURL: "https://a/x", Params: url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}}},
		"made up":      changed(func(r *tokenclient.OAuth2Refresher) { r.Grant = madeUpGrant{} }),
		"one is sent":  &tokenclient.JSONRefresher{TokenURL: "https://a/x", Request: tokenclient.RequestFields{RefreshToken: "access_token"}},
	} {
		s, err := tokenclient.New(tokenclient.Config{
			Refresher: r, Renewed: tokenclient.RenewedHeader("X-Auth-Token"), RefreshTimeout: time.Millisecond,
			Origins: []string{"https://api.example.com"},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
}

// TestConfigValidatePanics: in a Pool, a Validate that panics fails its key alone.
func TestConfigValidatePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: new(store.Memory),
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				c := anyConfig()
				if key == "alice" {
					c.Refresher = struct{ *sayingRefresher }{}
				}
				return c, nil
			},
		}, nil)
		if _, err := p.Session(t.Context(), "alice"); err == nil || !strings.Contains(err.Error(), `key "alice": its check panicked: `) {
			t.Errorf("error %v", err)
		}
		if _, err := p.Session(t.Context(), "bob"); err != nil {
			t.Errorf("bob's session: %v", err)
		}
	})
}

// TestNewPoolWithoutUnit: what NewPool can see, it says.
func TestNewPoolWithoutUnit(t *testing.T) {
	_, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: new(store.Memory), IdleFor: 15,
		Config: func(context.Context, string) (tokenclient.Config, error) { return anyConfig(), nil },
	})
	if err == nil || !strings.HasPrefix(err.Error(), "tokenclient: PoolConfig.IdleFor is 15ns") || !strings.Contains(err.Error(), "20*time.Second") {
		t.Errorf("error %v", err)
	}
}

// TestPasswordLoginMistakes: there is no New for a login, so Login tells, and sends nothing.
func TestPasswordLoginMistakes(t *testing.T) {
	type login = tokenclient.PasswordLogin
	for says, change := range map[string]func(*login){
		`PasswordLogin.Username and Password clash at "x"; give each`:               func(l *login) { l.Username, l.Password = "x", "x.y" },
		`PasswordLogin.Username and Password clash at "password"; give each`:        func(l *login) { l.Username = "password" },
		`PasswordLogin.Password is ".x", which has nothing before`:                  func(l *login) { l.Password = ".x" },
		`PasswordLogin.Response.AccessToken and RefreshToken clash at "t"; give`:    func(l *login) { l.Response.AccessToken, l.Response.RefreshToken = "t", "t" },
		`PasswordLogin.HTTPClient.Transport holds a nil pointer, a *http.Transport`: func(l *login) { l.HTTPClient.Transport = (*http.Transport)(nil) },
		`PasswordLogin.URL does not begin with https:// or http://; write it like`:  func(l *login) { l.URL = "api.example.com" },
	} {
		l := &login{URL: "https://api.example.com/login?key=planted", HTTPClient: &http.Client{
			Transport: sessiontest.RoundTrip(func(*http.Request) (*http.Response, error) { t.Errorf("%s: sent", says); return nil, io.EOF }),
		}}
		change(l)
		_, err := l.Login(t.Context(), "alice", plantedPassword)
		tokenError(t, err)
		if !errors.Is(err, tokenclient.ErrNotPresented) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %q does not say %q", err, says)
		}
	}
}

// anyConfig is one with which nothing is wrong.
func anyConfig() tokenclient.Config {
	return tokenclient.Config{Refresher: tokenclient.RefresherFunc(sessiontest.NoRefresh), Origins: []string{sessiontest.FakeAPI}}
}
