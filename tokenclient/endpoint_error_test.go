package tokenclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestHardProblem8Answers is the table of answers that must and must not end a
// session: tokens are given up for a terminal answer only.
func TestHardProblem8Answers(t *testing.T) {
	const (
		keep     = "keep"     // only a change of configuration mends it
		retry    = "retry"    // it may pass
		terminal = "terminal" // only a login helps
	)
	const js, form, page = "application/json", "application/x-www-form-urlencoded; charset=utf-8", "text/html"
	for _, c := range []struct {
		status      int
		kind, body  string
		oauth, json string // want
	}{
		{400, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{401, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{403, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{400, js, `{"error":{"code":"invalid_grant","message":"gone"}}`, terminal, terminal},
		{400, js, `{"code":"invalid_grant","message":"gone"}`, terminal, terminal},
		{400, form, `error=invalid_grant&error_description=gone`, terminal, terminal},
		{200, js, `{"error":"bad_refresh_token","error_description":"expired"}`, terminal, terminal}, // GitHub
		{200, js, `{"error":"invalid_grant"}`, terminal, terminal},
		{408, js, `{"error":"invalid_grant"}`, retry, retry},
		{425, js, `{"error":"invalid_grant"}`, retry, retry},
		{429, js, `{"error":"invalid_grant"}`, retry, retry},
		{500, js, `{"error":"invalid_grant"}`, retry, retry},
		{503, form, `error=invalid_grant`, retry, retry},

		{401, js, ``, keep, terminal},
		{401, js, `{}`, keep, terminal},
		{401, js, `{"error":"Unauthorized","message":"Token expired"}`, keep, terminal},
		{401, js, `{"code":401,"msg":"token invalid"}`, keep, terminal},
		{401, js, `{"error":"invalid_token"}`, keep, terminal},
		{401, "text/plain", `Unauthorized`, keep, terminal},
		{401, js, `{"error":"invalid_client"}`, keep, keep},
		{401, js, `{"error":{"code":"invalid_client"}}`, keep, keep},
		{401, form, `error=invalid_client`, keep, keep},
		{401, js, `{"error":"unauthorized_client"}`, keep, keep},
		{401, js, `{"error":"temporarily_unavailable"}`, keep, keep},
		{401, js, `{"error":"use_dpop_nonce"}`, keep, keep},
		{401, page, `<html><h1>401 Authorization Required</h1></html>`, keep, keep},

		{400, js, ``, keep, keep},
		{400, js, `{"error":"invalid_client"}`, keep, keep},
		{400, js, `{"error":"unauthorized_client"}`, keep, keep},
		{400, js, `{"error":"temporarily_unavailable"}`, keep, keep},
		{400, js, `{"error_description":"invalid_grant"}`, keep, keep},
		{400, js, `{"error":"invalid_grant`, keep, keep}, // cut: no code
		{400, page, `<html>invalid_grant</html>`, keep, keep},
		{403, js, ``, keep, keep},
		{403, page, `<html>rate limited</html>`, keep, keep},
		{404, page, `<html>not found</html>`, keep, keep},
		{407, page, ``, keep, keep},
		{429, js, ``, retry, retry},
		{500, js, ``, retry, retry},
		{502, page, `<html>bad gateway</html>`, retry, retry},
		{503, js, `{"error":"temporarily_unavailable"}`, retry, retry},

		{200, js, ``, retry, retry},
		{200, js, `{}`, retry, retry},
		{200, js, `{"access_token":""}`, retry, retry},
		{200, js, `{"access_token":"a\n"}`, retry, retry},
		{200, js, `{"access_token":"a"`, retry, retry},
		{200, page, `<html>log in to the network</html>`, retry, retry},
		{200, js, `{"x":"` + strings.Repeat("x", 10<<20) + `"}`, retry, retry},
		{204, js, ``, retry, retry},
	} {
		srv, calls := tokenEndpoint(t, answer(c.status, c.kind, c.body))
		json := &tokenclient.JSONRefresher{URL: srv.URL + "/refresh", HTTPClient: srv.Client()}
		for _, r := range []struct {
			name string
			r    tokenclient.Refresher
			want string
		}{{"OAuth2", oauth(srv), c.oauth}, {"JSON", json, c.json}} {
			tok, err := r.r.Refresh(t.Context(), plantedToken)
			e := tokenError(t, err)
			got := keep
			switch {
			case errors.Is(err, tokenclient.ErrLoginRequired):
				got = terminal
			case e.Temporary():
				got = retry
			}
			if got != r.want || tok != nil {
				t.Errorf("%s, %d %.60s: %s, want %s: %v", r.name, c.status, c.body, got, r.want, err)
			}
			if e.StatusCode != c.status || errors.Is(err, tokenclient.ErrNotPresented) || got == terminal && e.Temporary() {
				t.Errorf("%s, %d %.60s: status %d: %v", r.name, c.status, c.body, e.StatusCode, err)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%d %.60s: %d requests, want 2", c.status, c.body, calls.Load())
		}
	}
}

// TestTokenErrorSaysWhatIsWrong: the messages that people see first.
func TestTokenErrorSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		status                  int
		kind, body              string
		code, description, says string
	}{
		{400, "application/json", `{"error":"invalid_scope","error_description":"no such scope: x"}`, "invalid_scope", "no such scope: x",
			"/token: status 400: invalid_scope (no such scope: x)"},
		{400, "application/json", `{"error":{"code":"E1","message":"bad"}}`, "E1", "bad", "E1 (bad)"},
		{400, "application/json", `{"message":"bad"}`, "", "bad", "status 400 (bad)"},
		{400, "application/x-www-form-urlencoded", `error=a&error_description=b+c`, "a", "b c", "a (b c)"},
		{400, "application/json", `{"error":"a\"b\\c\nd\u00e9","error_description":"line\r\nbreak\u001b[31m\u202e\u0000"}`, "abcd", "linebreak[31m", "abcd (linebreak[31m)"},
		{400, "application/json", `{"error":"` + strings.Repeat("a", 100) + `","error_description":"` + strings.Repeat("ü", 5000) + `"}`,
			strings.Repeat("a", 64), strings.Repeat("ü", 100), ""},
		{400, "application/json", `{"error":17,"error_description":[]}`, "", "", "status 400"},
		{502, "text/html", `<html><p>token=abc</p></html>`, "", "", "status 502: answer is HTML, not JSON"},
		{200, "text/html", `<html>`, "", "", "status 200: answer is HTML, not JSON"},
		{200, "application/json", `{"access_token":"a"}` + strings.Repeat(" ", 1<<20), "", "", "status 200: answer is longer than 1 MiB"},
		{200, "application/json", `{"error":"slow"}`, "slow", "", "status 200: slow: answer has no access_token"},
	} {
		srv, _ := tokenEndpoint(t, answer(c.status, c.kind, c.body))
		_, err := oauth(srv).Refresh(t.Context(), plantedToken)
		e := tokenError(t, err)
		if e.Code != c.code || e.Description != c.description || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%d %.80s:\n%q, %q: %v", c.status, c.body, e.Code, e.Description, e)
		}
	}
}

// TestTokenErrorRedacts: servers echo what they were sent, more or less disguised.
func TestTokenErrorRedacts(t *testing.T) {
	secret := "planted&+/re=<fresh &tok<en+01& 23/45<67=&89ab" // no 16 bytes that escaping leaves alone
	other := "AbCdEfGhIjKlMnOp+/"                              // a client secret
	for name, echo := range map[string]string{
		"refresh token":     "unknown token " + secret + ", sorry",
		"upper case":        strings.ToUpper(secret),
		"first 16 bytes":    "token " + secret[:16] + "...",
		"last 16 bytes":     "token ..." + secret[len(secret)-16:],
		"query":             "token=" + url.QueryEscape(secret),
		"path":              url.PathEscape(secret),
		"HTML":              "&lt;b&gt;" + strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(secret),
		"broken up":         secret[:10] + "\r\n" + secret[10:20] + "\u200b" + secret[20:],
		"across the cut":    strings.Repeat("x", 195) + secret,
		"client secret":     "bad secret " + other,
		"Basic":             "bad header Basic " + strings.TrimPrefix(basicHeader(t, "app", other), "Basic "),
		"escaped in header": "bad secret " + url.QueryEscape(other),
	} {
		for _, member := range []string{"error", "error_description"} {
			body, err := json.Marshal(map[string]string{member: echo})
			if err != nil {
				t.Fatal(err)
			}
			srv, _ := tokenEndpoint(t, answer(400, "application/json", string(body)))
			r := oauth(srv)
			r.ClientAuth = tokenclient.ClientSecretBasic("app", other)
			_, err = r.Refresh(t.Context(), &tokenclient.Token{RefreshToken: secret})
			e := tokenError(t, err)
			if got := e.Code + e.Description; got != "[redacted]" {
				t.Errorf("%s as %s: %q", name, member, got)
			}
		}
	}
}

// basicHeader is what ClientSecretBasic sends.
func basicHeader(t *testing.T, id, secret string) string {
	t.Helper()
	h := http.Header{}
	if err := tokenclient.ClientSecretBasic(id, secret).Authenticate(t.Context(), "", nil, h); err != nil {
		t.Fatal(err)
	}
	return h.Get("Authorization")
}

// TestTokenErrorKeepsWhatIsNoSecret: an error that names the wrong parameter is
// worth a lot.
func TestTokenErrorKeepsWhatIsNoSecret(t *testing.T) {
	srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_target","error_description":"%s %s %s"}`, r.FormValue("audience"), r.FormValue("scope"), r.FormValue("client_id"))
	})
	r := oauth(srv)
	r.ClientAuth = tokenclient.PublicClient("my-application")
	r.Scope = "read:everything-there-is"
	r.Params = url.Values{"audience": {"https://api.example.com/v2"}}
	_, err := r.Refresh(t.Context(), plantedToken)
	if e := tokenError(t, err); e.Description != "https://api.example.com/v2 read:everything-there-is my-application" {
		t.Errorf("Description = %q", e.Description)
	}
}

func TestRetryAfter(t *testing.T) {
	date := time.Now().UTC()
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		retryAfter, date string
		min, max         time.Duration
	}{
		{"", "", 0, 0},
		{"7", "", 7 * time.Second, 7 * time.Second},
		{" 7 ", "", 7 * time.Second, 7 * time.Second},
		{"1.5", "", 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"0", "", 0, 0},
		{"-7", "", 0, 0},
		{"86400", "", 10 * time.Minute, 10 * time.Minute},
		{"99999999999999999999", "", 10 * time.Minute, 10 * time.Minute},
		{"soon", "", 0, 0},
		{at(time.Minute), "", 55 * time.Second, time.Minute},
		{at(-time.Minute), "", 0, 0},
		{at(24 * time.Hour), "", 10 * time.Minute, 10 * time.Minute},
		{at(time.Hour + time.Minute), at(time.Hour), time.Minute, time.Minute}, // the server's clock is one hour ahead
	} {
		srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.date != "" {
				w.Header().Set("Date", c.date)
			}
			w.Header().Set("Retry-After", c.retryAfter)
			w.WriteHeader(503)
		})
		_, err := oauth(srv).Refresh(t.Context(), plantedToken)
		if e := tokenError(t, err); e.RetryAfter < c.min || e.RetryAfter > c.max {
			t.Errorf("%q: %v, want %v to %v", c.retryAfter, e.RetryAfter, c.min, c.max)
		}
	}
}
