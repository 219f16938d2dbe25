package xoauth2_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

func TestRefresherRefuses(t *testing.T) {
	endpoint := func(url string, style oauth2.AuthStyle) oauth2.Endpoint {
		return oauth2.Endpoint{TokenURL: url, AuthStyle: style}
	}
	const token = "https://auth.example.com/token"
	for _, c := range []struct {
		conf *oauth2.Config
		want []string
	}{
		{nil, []string{"nil"}},
		{&oauth2.Config{Endpoint: endpoint(token, oauth2.AuthStyleInParams)}, []string{"ClientID"}},
		{&oauth2.Config{ClientID: "app"}, []string{"oauth2.Config.Endpoint.TokenURL is empty", "https://auth.example.com/token"}},
		{&oauth2.Config{ClientID: "app", Endpoint: endpoint("auth.example.com?planted", 0)}, []string{"oauth2.Config.Endpoint.TokenURL does not begin with https://", "write it like"}},
		{&oauth2.Config{ClientID: "app", Endpoint: endpoint("https://auth.example.com/{planted}", 0)}, []string{"oauth2.Config.Endpoint.TokenURL has a placeholder"}},
		{&oauth2.Config{ClientID: "planted\n", Endpoint: endpoint(token, 0)}, []string{"oauth2.Config.ClientID has a control character", "strings.TrimSpace"}},
		{
			&oauth2.Config{ClientID: "app", ClientSecret: "planted-secret\n", Endpoint: endpoint(token, oauth2.AuthStyleInParams)},
			[]string{"oauth2.Config.ClientSecret has a control character", "strings.TrimSpace"},
		},
		{
			&oauth2.Config{ClientID: "app", ClientSecret: "planted-secret", Endpoint: endpoint(token, oauth2.AuthStyleAutoDetect)},
			[]string{"oauth2.Config.Endpoint.AuthStyle", "AutoDetect", "oauth2.AuthStyleInParams", "oauth2.AuthStyleInHeader"},
		},
		{
			&oauth2.Config{ClientID: "app", ClientSecret: "planted-secret", Endpoint: endpoint(token, 77)},
			[]string{"oauth2.Config.Endpoint.AuthStyle", "77", "oauth2.AuthStyleInParams", "oauth2.AuthStyleInHeader"},
		},
	} {
		r, err := xoauth2.Refresher(c.conf)
		if err == nil || r != nil {
			t.Errorf("%v: no error", c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %s", err, want)
			}
		}
		if !strings.HasPrefix(err.Error(), "xoauth2: Refresher: ") || strings.Contains(err.Error(), "OAuth2Refresher") {
			t.Errorf("%q is not about what the caller wrote", err)
		}
		if strings.Contains(err.Error(), "planted") {
			t.Errorf("%q shows the secret", err)
		}
	}
}

// Plain http is not the Config's to allow, but the result's: New says so unless it is.
func TestRefresherPlainHTTP(t *testing.T) {
	r, err := xoauth2.Refresher(&oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: "http://auth.example.com/token"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "InsecureHTTP allows it") {
		t.Errorf("error %v", err)
	}
	r.InsecureHTTP = true
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

// What reaches the server is what the Config says; a public client sends no
// secret in any style.
func TestRefresherAuthenticates(t *testing.T) {
	for _, c := range []struct {
		style        oauth2.AuthStyle
		secret       string
		form, header string // client_id and client_secret; Authorization
	}{
		{oauth2.AuthStyleAutoDetect, "", "client_id=a%3Ap%2Bp", ""},
		{oauth2.AuthStyleInHeader, "", "client_id=a%3Ap%2Bp", ""},
		{oauth2.AuthStyleInParams, "", "client_id=a%3Ap%2Bp", ""},
		{oauth2.AuthStyleInParams, "s:s", "client_id=a%3Ap%2Bp&client_secret=s%3As", ""},
		{oauth2.AuthStyleInHeader, "s:s", "", "Basic YSUzQXAlMkJwOnMlM0Fz"}, // a%3Ap%2Bp:s%3As
	} {
		r, err := xoauth2.Refresher(&oauth2.Config{
			ClientID: "a:p+p", ClientSecret: c.secret, Endpoint: oauth2.Endpoint{TokenURL: "https://auth.example.com/token", AuthStyle: c.style},
		})
		if err != nil {
			t.Fatal(err)
		}
		form, header := url.Values{}, map[string][]string{}
		if err := r.ClientAuth.Authenticate(t.Context(), r.TokenURL, form, header); err != nil {
			t.Fatal(err)
		}
		got := ""
		if h := header["Authorization"]; len(h) > 0 {
			got = h[0]
		}
		if form.Encode() != c.form || got != c.header {
			t.Errorf("style %d, secret %q: form %s, header %q", c.style, c.secret, form.Encode(), got)
		}
		if r.TokenURL != "https://auth.example.com/token" || r.RevocationURL != "" || r.Scope != "" || r.Params != nil || r.HTTPClient != nil {
			t.Errorf("%+v", r)
		}
	}
}

// Against a server: the secret is accepted both ways, and a token that x/oauth2
// refreshed before is one that the Session goes on with.
func TestRefresherRefreshes(t *testing.T) {
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInParams, oauth2.AuthStyleInHeader} {
		srv := tokentest.NewServer(t, &tokentest.Options{ClientSecret: "s:+%"})
		conf := &oauth2.Config{
			ClientID: "app", ClientSecret: "s:+%", Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token", AuthStyle: style},
		}
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, srv.Client())
		old, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: srv.Issue("alice").RefreshToken}).Token()
		if err != nil {
			t.Fatal(err)
		}
		r, err := xoauth2.Refresher(conf)
		if err != nil {
			t.Fatal(err)
		}
		r.HTTPClient = srv.Client()
		handed := xoauth2.FromToken(old)
		if handed.Issued.IsZero() || handed.Expiry.Sub(handed.Issued) != 15*time.Minute || handed.RefreshExpiry.Sub(handed.Issued) != 30*24*time.Hour {
			t.Errorf("lifetimes of %v, issued %v", handed, handed.Issued)
		}
		if _, err := r.Refresh(t.Context(), handed); err != nil {
			t.Errorf("style %d: %v", style, err)
		}
		if seen := srv.Counters(); seen.Refreshes != 2 || seen.Reuses != 0 {
			t.Errorf("%+v", seen)
		}
	}
}

func TestTokenSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		source := xoauth2.TokenSource(ctx, r.Session)
		if _, err := source.Token(); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("before login: %v", err)
		}
		first := r.Login(t)
		token, err := source.Token()
		if err != nil || token.AccessToken != first.AccessToken || token.RefreshToken != "" || !token.Valid() {
			t.Errorf("%v, refresh token %q, error %v", token.AccessToken == first.AccessToken, token.RefreshToken, err)
		}
		time.Sleep(time.Hour) // it expired
		token, err = source.Token()
		if err != nil || token.AccessToken == first.AccessToken || token.RefreshToken != "" || !token.Valid() {
			t.Errorf("after expiry: %v", err)
		}
		held, err := r.Session.Peek(t.Context())
		if err != nil || held.RefreshToken == "" {
			t.Errorf("the session lost its refresh token: %v", err)
		}
		time.Sleep(time.Hour)
		cancel()
		if _, err := source.Token(); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	})
}

// TestOverOAuth2Transport: x/oauth2's Transport sets the header by itself. Over a Transport
// of the session whose token it has, a token that was revoked costs its caller nothing,
// though x/oauth2 goes on to send it.
func TestOverOAuth2Transport(t *testing.T) {
	r := sessiontest.New(t, nil, nil)
	first := r.Login(t)
	for name, source := range map[string]oauth2.TokenSource{
		"one token for ever": oauth2.StaticTokenSource(xoauth2.ToToken(first)),
		"the session's":      xoauth2.TokenSource(t.Context(), r.Session),
		"reused":             oauth2.ReuseTokenSource(nil, xoauth2.TokenSource(t.Context(), r.Session)),
	} {
		client := &http.Client{Transport: &oauth2.Transport{Source: source, Base: r.Session.Transport(r.Server.Client().Transport)}}
		for i := range 2 {
			resp, err := client.Get(r.Server.URL + "/api/")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("%s, request %d: status %d", name, i, resp.StatusCode)
			}
			if i == 0 {
				r.Server.RevokeAccess("alice")
			}
		}
	}
}
