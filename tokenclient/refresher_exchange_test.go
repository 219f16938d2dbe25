package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// madeUpGrant is a grant that somebody else wrote: it takes what it needs from the old token.
type madeUpGrant struct{}

func (madeUpGrant) Params(_ context.Context, old *tokenclient.Token) (url.Values, error) {
	if old.AccessToken == "broken" {
		return nil, fmt.Errorf("%w: no assertion", tokenclient.ErrLoginRequired)
	}
	return url.Values{"grant_type": {"urn:example:made-up"}, "assertion": {"x"}, "resource": {"a", "b"}}, nil
}

// wire is what a token endpoint was sent.
type wire struct{ kind, auth, header, body string }

// wired starts an endpoint that notes what it is sent.
func wired(t *testing.T, h http.HandlerFunc) (rawURL string, got *wire) {
	got = new(wire)
	srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = wire{
			kind: strings.TrimPrefix(r.Header.Get("Content-Type"), "application/"), auth: r.Header.Get("Authorization"),
			header: r.Header.Get("X-Auth-Token"), body: string(body),
		}
		h(w, r)
	})
	return srv.URL, got
}

// TestPartsCombine: what one refresher can do, the other can, and each part does its own
// whatever the others are.
func TestPartsCombine(t *testing.T) {
	const form, json = "x-www-form-urlencoded", "json"
	old := &tokenclient.Token{AccessToken: "A", RefreshToken: "R"}
	post, basic := tokenclient.ClientSecretPost("app", "secret"), tokenclient.ClientSecretBasic("app", "secret")
	for _, c := range []struct {
		name         string
		parts        tokenclient.OAuth2Refresher
		oauth2, json wire // what each preset sends
	}{
		{"client in the body", tokenclient.OAuth2Refresher{ClientAuth: post},
			wire{kind: form, body: "client_id=app&client_secret=secret&grant_type=refresh_token&refresh_token=R"},
			wire{kind: json, body: `{"client_id":"app","client_secret":"secret","refresh_token":"R"}`}},
		{"client in the header", tokenclient.OAuth2Refresher{ClientAuth: basic},
			wire{kind: form, auth: "Basic YXBwOnNlY3JldA==", body: "grant_type=refresh_token&refresh_token=R"},
			wire{kind: json, auth: "Basic YXBwOnNlY3JldA==", body: `{"refresh_token":"R"}`}},
		{"form", tokenclient.OAuth2Refresher{ClientAuth: basic, Encoding: tokenclient.FormEncoding},
			wire{kind: form, auth: "Basic YXBwOnNlY3JldA==", body: "grant_type=refresh_token&refresh_token=R"},
			wire{kind: form, auth: "Basic YXBwOnNlY3JldA==", body: "refresh_token=R"}},
		{"JSON", tokenclient.OAuth2Refresher{ClientAuth: post, Encoding: tokenclient.JSONEncoding},
			wire{kind: json, body: `{"client_id":"app","client_secret":"secret","grant_type":"refresh_token","refresh_token":"R"}`},
			wire{kind: json, body: `{"client_id":"app","client_secret":"secret","refresh_token":"R"}`}},
		{"scope and params", tokenclient.OAuth2Refresher{ClientAuth: basic, Scope: "read write", Params: url.Values{"audience": {"api"}, "resource": {"x", "y"}}},
			wire{kind: form, auth: "Basic YXBwOnNlY3JldA==", body: "audience=api&grant_type=refresh_token&refresh_token=R&resource=x&resource=y&scope=read+write"},
			wire{kind: json, auth: "Basic YXBwOnNlY3JldA==", body: `{"audience":"api","refresh_token":"R","resource":["x","y"],"scope":"read write"}`}},
		{"names", tokenclient.OAuth2Refresher{ClientAuth: basic, Request: tokenclient.RequestFields{RefreshToken: "data.refresh", AccessToken: "data.access"}},
			wire{kind: form, auth: "Basic YXBwOnNlY3JldA==", body: "data.access=A&data.refresh=R&grant_type=refresh_token"},
			wire{kind: json, auth: "Basic YXBwOnNlY3JldA==", body: `{"data":{"access":"A","refresh":"R"}}`}},
		{"access token on the request", tokenclient.OAuth2Refresher{ClientAuth: post, Attacher: tokenclient.HeaderAttacher("X-Auth-Token")},
			wire{kind: form, header: "A", body: "client_id=app&client_secret=secret&grant_type=refresh_token&refresh_token=R"},
			wire{kind: json, header: "A", body: `{"client_id":"app","client_secret":"secret","refresh_token":"R"}`}},
		{"another grant", tokenclient.OAuth2Refresher{ClientAuth: basic, Grant: madeUpGrant{}, Scope: "s"},
			wire{kind: form, auth: "Basic YXBwOnNlY3JldA==", body: "assertion=x&grant_type=urn%3Aexample%3Amade-up&resource=a&resource=b&scope=s"},
			wire{kind: json, auth: "Basic YXBwOnNlY3JldA==", body: `{"assertion":"x","grant_type":"urn:example:made-up","resource":["a","b"],"scope":"s"}`}},
		{"everything", tokenclient.OAuth2Refresher{ClientAuth: post, Grant: madeUpGrant{}, Encoding: tokenclient.JSONEncoding, Attacher: tokenclient.HeaderAttacher("X-Auth-Token"), Params: url.Values{"x": {"1"}}},
			wire{kind: json, header: "A", body: `{"assertion":"x","client_id":"app","client_secret":"secret","grant_type":"urn:example:made-up","resource":["a","b"],"x":"1"}`},
			wire{kind: json, header: "A", body: `{"assertion":"x","client_id":"app","client_secret":"secret","grant_type":"urn:example:made-up","resource":["a","b"],"x":"1"}`}},
	} {
		rawURL, got := wired(t, answer(200, "application/json", `{"d":{"t":"new","r":"next"}}`))
		c.parts.TokenURL = rawURL
		c.parts.Response = tokenclient.JSONFields{AccessToken: "d.t", RefreshToken: "d.r"}
		oauth2, own := c.parts, tokenclient.JSONRefresher(c.parts)
		for _, r := range []struct {
			tokenclient.Refresher
			validate func() error
			want     wire
		}{{&oauth2, oauth2.Validate, c.oauth2}, {&own, own.Validate, c.json}} {
			if err := r.validate(); err != nil {
				t.Errorf("%s, %T: %v", c.name, r.Refresher, err)
			}
			tok, err := r.Refresh(t.Context(), old)
			if err != nil || tok.AccessToken != "new" || tok.RefreshToken != "next" || *got != r.want {
				t.Errorf("%s, %T: sent %+v, want %+v; %v, %v", c.name, r.Refresher, *got, r.want, tok, err)
			}
		}
	}
}

// TestTerminalOfOAuth2: the hook has the last word there too, and gets what was found.
func TestTerminalOfOAuth2(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   tokenclient.Answer // without Header and Body
	}{
		{400, `{"error":"invalid_grant"}`, tokenclient.Answer{StatusCode: 400, Code: "invalid_grant", Terminal: true}},
		{403, `{"error":"made_up"}`, tokenclient.Answer{StatusCode: 403, Code: "made_up"}},
		{401, ``, tokenclient.Answer{StatusCode: 401}}, // the client, most likely
		{503, `{"error":"invalid_grant"}`, tokenclient.Answer{StatusCode: 503, Code: "invalid_grant"}},
	} {
		for _, verdict := range []bool{true, false} {
			srv, _ := tokenEndpoint(t, answer(c.status, "application/json", c.body))
			r := oauth(srv)
			asked := 0
			r.Terminal = func(a tokenclient.Answer) bool {
				asked++
				if a.StatusCode != c.want.StatusCode || a.Code != c.want.Code || a.Terminal != c.want.Terminal || string(a.Body) != c.body || a.Header.Get("Content-Type") == "" {
					t.Errorf("asked about %+v, want %+v", a, c.want)
				}
				return verdict
			}
			_, err := r.Refresh(t.Context(), plantedToken)
			if tokenError(t, err); errors.Is(err, tokenclient.ErrLoginRequired) != verdict || asked != 1 {
				t.Errorf("%d: verdict %v gave %v after %d questions", c.status, verdict, err, asked)
			}
		}
	}
}

// TestGrantIsNeverTerminal: what a grant that needs no login fails with, no login mends. Not
// even if a grant says so, which may mean another session's login.
func TestGrantIsNeverTerminal(t *testing.T) {
	srv, calls := tokenEndpoint(t, answer(400, "application/json", `{"error":"invalid_grant"}`))
	r := oauth(srv)
	r.Grant = madeUpGrant{}
	for access, sent := range map[string]int32{"": 1, "broken": 0} {
		calls.Store(0)
		_, err := r.Refresh(t.Context(), &tokenclient.Token{AccessToken: access})
		if tokenError(t, err); errors.Is(err, tokenclient.ErrLoginRequired) || errors.Is(err, tokenclient.ErrNotPresented) != (sent == 0) || calls.Load() != sent {
			t.Errorf("%q: %v after %d calls", access, err, calls.Load())
		}
	}
	if !r.CanRefresh(new(tokenclient.Token)) || oauth(srv).CanRefresh(new(tokenclient.Token)) {
		t.Error("who can do without a token does not say so, or who cannot does")
	}
}

// TestLogin: what a login brought is exchanged with the same parts as a refresh.
func TestLogin(t *testing.T) {
	code := url.Values{"grant_type": {"authorization_code"}, "code": {"planted-code"}, "code_verifier": {"planted-verifier"}, "scope": {"one"}}
	rawURL, got := wired(t, answer(200, "application/json", `{"access_token":"new","refresh_token":"next"}`))
	parts := tokenclient.OAuth2Refresher{TokenURL: rawURL, ClientAuth: tokenclient.PublicClient("app"), Scope: "all", Params: url.Values{"audience": {"api"}}}
	own := tokenclient.JSONRefresher(parts)
	for _, c := range []struct {
		login func(context.Context, url.Values) (*tokenclient.Token, error)
		want  string
	}{
		{parts.Login, "audience=api&client_id=app&code=planted-code&code_verifier=planted-verifier&grant_type=authorization_code&scope=one"},
		{own.Login, `{"audience":"api","client_id":"app","code":"planted-code","code_verifier":"planted-verifier","grant_type":"authorization_code","scope":"one"}`},
	} {
		tok, err := c.login(t.Context(), code)
		if err != nil || tok.AccessToken != "new" || tok.RefreshToken != "next" || got.body != c.want {
			t.Errorf("sent %s, want %s; %v, %v", got.body, c.want, tok, err)
		}
	}
	for body, says := range map[string]string{
		`{"error":"authorization_pending"}`:                             "authorization_pending",
		`{"error":"invalid_grant","error_description":"planted-code?"}`: "invalid_grant ([redacted])",
	} {
		srv, _ := tokenEndpoint(t, answer(400, "application/json", body))
		_, err := oauth(srv).Login(t.Context(), code)
		if tokenError(t, err); errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", body, err)
		}
	}
	_, err := (&tokenclient.OAuth2Refresher{TokenURL: rawURL}).Login(t.Context(), code)
	if tokenError(t, err); !errors.Is(err, tokenclient.ErrNotPresented) || !strings.Contains(err.Error(), "OAuth2Refresher.ClientAuth is nil") {
		t.Errorf("without a ClientAuth: %v", err)
	}
}
