package tokentest_test

import (
	"context"
	"encoding/base64"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestLogin(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	srv.AddUser("alice", "old")
	srv.AddUser("alice", "secret")
	login := func(body string) reply { return call(t, srv, "POST", "/login", body) }

	r := login(`{"username":"alice","password":"secret"}`)
	wantStatus(t, "login", r, 200)
	r.wantMembers(t, map[string]string{"token_type": "Bearer", "expires_in": "900", "refresh_expires_in": "2592000"})
	if got := r.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	wantStatus(t, "API after login", get(t, srv, r.member("access_token")), 200)
	wantStatus(t, "refresh after login", refresh(t, srv, r.member("refresh_token")), 200)

	wantError(t, "old password", login(`{"username":"alice","password":"old"}`), 401, "invalid_grant")
	wantError(t, "unknown user", login(`{"username":"bob","password":""}`), 401, "invalid_grant")
	wantError(t, "nothing", login(``), 400, "invalid_request")
	wantError(t, "no JSON", login(`username=alice`), 400, "invalid_request")
	wantStatus(t, "GET", call(t, srv, "GET", "/login", ""), 405)
	if got := srv.Counters().Logins; got != 5 {
		t.Errorf("%d logins counted, want 5", got)
	}
}

func TestJSONRefresh(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	token := srv.Issue("alice")
	post := func(body string) reply { return call(t, srv, "POST", "/token/refresh", body) }

	wantError(t, "no body", post(``), 400, "invalid_request")
	wantError(t, "no token", post(`{"access_token":"x"}`), 400, "invalid_request")
	wantError(t, "unknown token", post(`{"refresh_token":"x"}`), 401, "invalid_grant")
	wantError(t, "access token", refresh(t, srv, token.AccessToken), 401, "invalid_grant")
	r := refresh(t, srv, token.RefreshToken)
	wantStatus(t, "refresh", r, 200)
	if r.member("access_token") == token.AccessToken || r.member("refresh_token") == token.RefreshToken {
		t.Error("the pair is the old one")
	}
	wantStatus(t, "API with the new token", get(t, srv, r.member("access_token")), 200)
	wantStatus(t, "API with the old token", get(t, srv, token.AccessToken), 200)
	if got := srv.Counters().Refreshes; got != 5 {
		t.Errorf("%d refreshes counted, want 5", got)
	}
}

func TestOAuthToken(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	token := srv.Issue("alice")
	grant := "grant_type=refresh_token&client_id=me&refresh_token="
	for _, test := range []struct{ what, form, code string }{
		{"nothing", "", "invalid_request"},
		{"no grant type", "refresh_token=x", "invalid_request"},
		{"another grant type", "grant_type=password", "unsupported_grant_type"},
		{"no token", "grant_type=refresh_token", "invalid_request"},
		{"unknown token", grant + "x", "invalid_grant"},
		{"token given twice", grant + "x&refresh_token=x", "invalid_request"},
		{"malformed form", "%zz=1", "invalid_request"},
	} {
		wantError(t, test.what, postForm(t, srv, "/oauth/token", test.form), 400, test.code)
	}
	wantError(t, "parameters in the URL",
		postForm(t, srv, "/oauth/token?"+grant+token.RefreshToken, ""), 400, "invalid_request")
	service := postForm(t, srv, "/oauth/token", "grant_type=client_credentials&client_id=me")
	wantStatus(t, "client credentials", service, 200)
	if service.member("refresh_token") != "" {
		t.Error("client credentials brought a refresh token")
	}
	wantStatus(t, "API for a client", get(t, srv, service.member("access_token")), 200)
	wantError(t, "client credentials of nobody", postForm(t, srv, "/oauth/token", "grant_type=client_credentials"), 400, "invalid_request")
	r := postForm(t, srv, "/oauth/token", grant+token.RefreshToken)
	wantStatus(t, "refresh", r, 200)
	if got := r.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	wantStatus(t, "API", get(t, srv, r.member("access_token")), 200)
	wantError(t, "spent token", postForm(t, srv, "/oauth/token", grant+token.RefreshToken), 400, "invalid_grant")
	if got := srv.Counters(); got.Refreshes != 5 || got.Reuses != 1 {
		t.Errorf("%+v, want 5 refreshes and 1 reuse", got)
	}
}

func TestClientAuthentication(t *testing.T) {
	const secret = "a:b +%é"
	srv := tokentest.NewServer(t, &tokentest.Options{ClientSecret: secret})
	basic := func(secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+secret))
	}
	escaped := url.QueryEscape(secret)
	form := func() string {
		return "grant_type=refresh_token&refresh_token=" + srv.Issue("alice").RefreshToken
	}
	wantStatus(t, "Basic", postForm(t, srv, "/oauth/token", form(), "Authorization", basic(escaped)), 200)
	wantStatus(t, "post", postForm(t, srv, "/oauth/token", form()+"&client_secret="+escaped), 200)
	wantError(t, "both", postForm(t, srv, "/oauth/token", form()+"&client_secret="+escaped,
		"Authorization", basic(escaped)), 400, "invalid_request")
	for what, r := range map[string]reply{
		"wrong in Basic":    postForm(t, srv, "/oauth/token", form(), "Authorization", basic("x")),
		"wrong in the form": postForm(t, srv, "/oauth/token", form()+"&client_secret=x"),
		"missing":           postForm(t, srv, "/oauth/token", form()),
		"revocation":        postForm(t, srv, "/oauth/revoke", "token=x"),
	} {
		wantError(t, what, r, 401, "invalid_client")
		if got := r.header.Get("WWW-Authenticate"); got != `Basic realm="tokentest"` {
			t.Errorf("%s: challenge %q", what, got)
		}
	}
	// A refused client spends nothing.
	token := srv.Issue("alice")
	wantStatus(t, "stranger", postForm(t, srv, "/oauth/token",
		"grant_type=refresh_token&refresh_token="+token.RefreshToken), 401)
	wantStatus(t, "afterwards", refresh(t, srv, token.RefreshToken), 200)
}

// TestClientSecretEndpoints keeps what Options.ClientSecret says to the endpoints that ask
// for it.
func TestClientSecretEndpoints(t *testing.T) {
	source, err := os.ReadFile("options.go")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(source), "\t// ClientSecret is")
	doc, _, found := strings.Cut(doc, "\tClientSecret string")
	if !found {
		t.Fatal("options.go has no ClientSecret")
	}
	words := strings.Fields(strings.ReplaceAll(doc, ",", " "))
	srv := tokentest.NewServer(t, &tokentest.Options{ClientSecret: "secret"})
	for _, path := range []string{
		"/login", "/token/refresh", "/oauth/token", "/oauth/revoke", "/oauth/authorize", "/oauth/device", "/device", "/heartbeat", "/api/x",
	} {
		asks := postForm(t, srv, path, "client_id=app").member("error") == "invalid_client"
		if said := slices.Contains(words, path); said != asks {
			t.Errorf("%s asks for the secret: %t; its documentation says so: %t", path, asks, said)
		}
	}
}

func TestRevocation(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	one, two := srv.Issue("alice"), srv.Issue("alice")
	revoke := func(token string) reply { return postForm(t, srv, "/oauth/revoke", "token="+token) }

	wantStatus(t, "unknown token", revoke("x"), 200)
	wantError(t, "no token", revoke(""), 400, "invalid_request")

	wantStatus(t, "access token", revoke(one.AccessToken), 200)
	wantStatus(t, "API with the revoked token", get(t, srv, one.AccessToken), 401)
	r := refresh(t, srv, one.RefreshToken)
	wantStatus(t, "refresh after the access token was revoked", r, 200)

	wantStatus(t, "refresh token", revoke(r.member("refresh_token")), 200)
	wantStatus(t, "API with its family's token", get(t, srv, r.member("access_token")), 401)
	wantStatus(t, "refresh with the revoked token", refresh(t, srv, r.member("refresh_token")), 401)
	wantStatus(t, "API with another family's token", get(t, srv, two.AccessToken), 200)
	if got := srv.Counters(); got.Revocations != 4 || got.Reuses != 0 {
		t.Errorf("%+v, want 4 revocations and no reuse", got)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true, Latency: 2 * time.Second})
		token := srv.Issue("alice")
		start := time.Now()
		wantStatus(t, "API", get(t, srv, token.AccessToken), 200)
		if took := time.Since(start); took != 0 {
			t.Errorf("the API took %v", took)
		}

		// A client that leaves early spends nothing.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := srv.JSONRefresher().Refresh(ctx, token); err == nil {
			t.Error("an answer came before its time")
		}
		if got := srv.Counters().Refreshes; got != 1 {
			t.Errorf("%d refreshes counted, want 1", got)
		}
		start = time.Now()
		wantStatus(t, "refresh", refresh(t, srv, token.RefreshToken), 200)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("the refresh took %v", took)
		}

		// Close does not wait for it.
		srv.Set(func(o *tokentest.Options) { o.Latency = 24 * time.Hour })
		done := make(chan error)
		go func() {
			_, err := try(t, srv, "POST", "/login", "{}")
			done <- err
		}()
		synctest.Wait()
		start = time.Now()
		srv.Close()
		if err := <-done; err == nil {
			t.Error("a closed server answered")
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}
