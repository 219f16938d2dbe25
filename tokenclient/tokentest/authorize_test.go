package tokentest_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	verifier = "a-verifier-that-is-long-enough-for-rfc-7636"
	callback = "http://127.0.0.1/callback?app=1"
)

// authorize is what a browser does with a program's link. changes are names and
// values in turn that replace those of a good request; an empty value drops one.
func authorize(t testing.TB, srv *tokentest.Server, changes ...string) (reply, url.Values) {
	t.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "state": {"s t"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		if q.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	r := call(t, srv, "GET", "/oauth/authorize?"+q.Encode(), "")
	to := r.header.Get("Location")
	if to == "" {
		return r, nil
	}
	if r.status != 302 || !strings.HasPrefix(to, callback+"&") {
		t.Errorf("%d to %s", r.status, to)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return r, u.Query()
}

// redeem is what the program does with the code, changed as for authorize.
func redeem(t testing.TB, srv *tokentest.Server, code string, changes ...string) reply {
	t.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": {callback},
		"code": {code}, "code_verifier": {verifier},
	}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
	}
	return postForm(t, srv, "/oauth/token", form.Encode())
}

func TestAuthorize(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	r, _ := authorize(t, srv)
	wantError(t, "nobody to approve", r, 403, "access_denied")
	srv.Approve("alice")
	for _, c := range []struct {
		what  string
		names []string
	}{
		{"no client", []string{"client_id", ""}},
		{"no redirect", []string{"redirect_uri", ""}},
		{"relative redirect", []string{"redirect_uri", "/callback"}},
		{"bad redirect", []string{"redirect_uri", "http://%zz"}},
	} {
		if r, back := authorize(t, srv, c.names...); back != nil {
			t.Errorf("%s: sent to %v", c.what, back)
		} else {
			wantError(t, c.what, r, 400, "invalid_request")
		}
	}
	for _, c := range []struct {
		what, code string
		names      []string
	}{
		{"implicit", "unsupported_response_type", []string{"response_type", "token"}},
		{"no PKCE", "invalid_request", []string{"code_challenge", ""}},
		{"plain PKCE", "invalid_request", []string{"code_challenge_method", "plain"}},
	} {
		if _, back := authorize(t, srv, c.names...); back.Get("error") != c.code || back.Get("state") != "s t" || back.Has("code") {
			t.Errorf("%s: sent back with %v", c.what, back)
		}
	}
	_, back := authorize(t, srv)
	if back.Get("code") == "" || back.Get("state") != "s t" || back.Get("app") != "1" || back.Has("error") {
		t.Errorf("approved, sent back with %v", back)
	}
	srv.Approve("")
	if _, back := authorize(t, srv, "state", ""); back.Get("error") != "access_denied" || back.Has("code") || back.Has("state") {
		t.Errorf("refused, sent back with %v", back)
	}
	if got := srv.Counters().Logins; got != 10 {
		t.Errorf("%d logins counted, want 10", got)
	}
}

func TestRedeemCode(t *testing.T) {
	inMemory(t, tokentest.Options{}, func(t *testing.T, srv *tokentest.Server) {
		srv.Approve("alice")
		for what, changes := range map[string][]string{
			"no code":          {"code", ""},
			"other code":       {"code", "x"},
			"other client":     {"client_id", "other"},
			"other redirect":   {"redirect_uri", "http://127.0.0.1/callback"},
			"other verifier":   {"code_verifier", "x"},
			"no verifier":      {"code_verifier", ""},
			"a challenge only": {"code_verifier", oauth2.S256ChallengeFromVerifier(verifier)},
		} {
			_, back := authorize(t, srv)
			wantError(t, what, redeem(t, srv, back.Get("code"), changes...), 400, "invalid_grant")
			wantStatus(t, what+", then right", redeem(t, srv, back.Get("code")), 200)
		}
		_, back := authorize(t, srv)
		time.Sleep(time.Minute)
		wantError(t, "late", redeem(t, srv, back.Get("code")), 400, "invalid_grant")

		_, back = authorize(t, srv)
		first := redeem(t, srv, back.Get("code"))
		access := first.member("access_token")
		if r := get(t, srv, access); r.member("subject") != "alice" {
			t.Errorf("token of %s", r.body)
		}
		wantStatus(t, "refresh", refresh(t, srv, first.member("refresh_token")), 200)
		wantError(t, "twice", redeem(t, srv, back.Get("code")), 400, "invalid_grant")
		wantStatus(t, "after a code came twice", get(t, srv, access), 401)
	})
}

// A client with a secret must prove it, and may name itself by HTTP Basic.
func TestRedeemCodeWithSecret(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{ClientSecret: "secret"})
	srv.Approve("alice")
	_, back := authorize(t, srv)
	code := back.Get("code")
	wantError(t, "no secret", redeem(t, srv, code), 401, "invalid_client")
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {callback}, "code": {code}, "code_verifier": {verifier}}
	wantStatus(t, "Basic", postForm(t, srv, "/oauth/token", form.Encode(), "Authorization", "Basic YXBwOnNlY3JldA=="), 200)
	wantError(t, "device, no secret", postForm(t, srv, "/oauth/device", "client_id=app"), 401, "invalid_client")
}

func TestMetadata(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	const path = "/.well-known/oauth-authorization-server"
	r := call(t, srv, "GET", path, "")
	if r.status != 200 || r.member("issuer") != srv.URL || r.member("token_endpoint_auth_methods_supported") != "[none]" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, name := range []string{"authorization", "device_authorization", "token", "revocation"} {
		endpoint := r.member(name + "_endpoint")
		path, ok := strings.CutPrefix(endpoint, srv.URL)
		if !ok {
			t.Errorf("%s_endpoint is %q", name, endpoint)
		}
		if r := call(t, srv, "POST", path, ""); r.status == 404 {
			t.Errorf("%s does not exist", endpoint)
		}
	}
	srv.Set(func(o *tokentest.Options) { o.ClientSecret = "secret" })
	if got := call(t, srv, "GET", path, "").member("token_endpoint_auth_methods_supported"); got != "[client_secret_basic client_secret_post]" {
		t.Errorf("with a secret: %s", got)
	}
}

// TestAuthorizePage: a person at a browser decides about one login, if nobody else has.
func TestAuthorizePage(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	q := url.Values{
		"response_type": {"code"}, "client_id": {"<app>"}, "redirect_uri": {callback}, "state": {"s t"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	path := "/oauth/authorize?" + q.Encode()
	const html = "text/html,application/xhtml+xml;q=0.9"
	r := call(t, srv, "GET", path, "", "Accept", html)
	if r.status != 200 || !strings.Contains(r.body, "&lt;app&gt; asks for access") || !strings.Contains(r.body, `<form method="post">`) || r.header.Get("Cache-Control") != "no-store" || !strings.Contains(r.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	wantError(t, "no browser", call(t, srv, "GET", path, ""), 403, "access_denied")
	post := func(path, form string) (reply, url.Values) {
		r := call(t, srv, "POST", path, form, "Accept", html, "Content-Type", "application/x-www-form-urlencoded")
		u, err := url.Parse(r.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return r, u.Query()
	}
	for form, says := range map[string]string{
		"decision=approve":          "Say who you are.",
		"user=alice":                "Press one of the two buttons.",
		"decision=other&user=alice": "Press one of the two buttons.",
		"decision=%zz":              "The form cannot be read.",
	} {
		if r, back := post(path, form); r.status != 400 || !strings.Contains(r.body, says) || len(back) > 0 {
			t.Errorf("%s: %d %s", form, r.status, r.body)
		}
	}
	if _, back := post(path, "decision=refuse"); back.Get("error") != "access_denied" || back.Has("code") || back.Get("iss") != srv.URL {
		t.Errorf("refused, sent back with %v", back)
	}
	_, back := post(path, "decision=approve&user=alice")
	if back.Get("code") == "" || back.Get("state") != "s t" || back.Get("app") != "1" || back.Get("iss") != srv.URL {
		t.Errorf("approved, sent back with %v", back)
	}
	r = redeem(t, srv, back.Get("code"), "client_id", "<app>")
	if r := get(t, srv, r.member("access_token")); r.member("subject") != "alice" {
		t.Errorf("token of %s", r.body)
	}
	if r, _ := post("/oauth/authorize?client_id=app", "decision=approve&user=alice"); r.status != 400 || r.header.Get("Location") != "" {
		t.Errorf("without a redirect_uri: %d", r.status)
	}
	if got := srv.Counters().Logins; got != 2 {
		t.Errorf("%d logins counted, want the 2 that were begun", got)
	}

	srv.Approve("bob")
	if r := call(t, srv, "GET", path, "", "Accept", html); r.header.Get("Location") == "" {
		t.Errorf("approved for all: %d %s", r.status, r.body)
	}
	_, back = post(path, "decision=refuse")
	if back.Get("error") != "access_denied" {
		t.Errorf("refused in spite of that, sent back with %v", back)
	}
}
