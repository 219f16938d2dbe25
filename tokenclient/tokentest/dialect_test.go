package tokentest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// otherwise is a dialect that says everything in another way.
var otherwise = tokentest.Dialect{
	RefreshToken: func(r *http.Request, sent url.Values) (string, bool) {
		return sent.Get("data.refresh"), r.Header.Get("X-Version") == "1"
	},
	Granted: func(g tokentest.Granted) tokentest.Reply {
		return tokentest.Form(0, url.Values{
			"access_token": {g.AccessToken}, "refresh_token": {g.RefreshToken}, "user": {g.User},
			"expires_at": {fmt.Sprint(g.Issued.Add(g.Lifetime).Unix())}, "refresh_lifetime": {fmt.Sprint(g.RefreshLifetime)},
		})
	},
	Refused: func(r tokentest.Refused) tokentest.Reply {
		return tokentest.JSON(200, map[string]any{"ok": false, "code": r.Code})
	},
	Rejected: func(r tokentest.Refused) tokentest.Reply { return tokentest.JSON(200, map[string]any{"error": r.Code}) },
}

// say sends a request as it is.
func say(t *testing.T, srv *tokentest.Server, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", srv.URL+path, nil)
	req.Body = io.NopCloser(strings.NewReader(body))
	req.Header = header
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(raw)
}

// TestDialect: what the server does is as ever, and what it reads and says is otherwise.
func TestDialect(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{Dialect: otherwise})
	token := srv.Issue("alice")
	header := http.Header{"Content-Type": {"application/json"}, "X-Version": {"1"}}
	for _, c := range []struct{ what, path, body, want string }{
		{"unknown", "/oauth/token", `{"data":{"refresh":"x","n":1}}`, `{"code":"invalid_grant","ok":false}`},
		{"nothing", "/oauth/token", `{}`, `{"code":"invalid_request","ok":false}`},
		{"no JSON", "/oauth/token", `x`, `{"code":"invalid_request","ok":false}`},
		{"another grant", "/oauth/token", `{"grant_type":"password","data":{"refresh":"` + token.RefreshToken + `"}}`, `{"code":"unsupported_grant_type","ok":false}`},
		{"login", "/login", `{"username":"alice","password":"x"}`, `{"code":"invalid_grant","ok":false}`},
		{"API", "/api/", ``, `{"error":"invalid_token"}`},
	} {
		resp, got := say(t, srv, c.path, c.body, header)
		if resp.StatusCode != 200 || got != c.want {
			t.Errorf("%s: %d %s, want %s", c.what, resp.StatusCode, got, c.want)
		}
	}
	if _, got := say(t, srv, "/oauth/token", `{"data":{"refresh":"`+token.RefreshToken+`"}}`, http.Header{"Content-Type": {"application/json"}}); got != `{"code":"invalid_request","ok":false}` {
		t.Errorf("without what the dialect demands: %s", got)
	}
	resp, got := say(t, srv, "/oauth/token", `{"data":{"refresh":"`+token.RefreshToken+`"}}`, header)
	form, err := url.ParseQuery(got)
	if err != nil || resp.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || form.Get("user") != "alice" ||
		form.Get("refresh_token") == token.RefreshToken || form.Get("refresh_lifetime") != "720h0m0s" || form.Get("expires_at") == "" {
		t.Errorf("refreshed: %s, %v", got, err)
	}
	wantStatus(t, "API with the new token", get(t, srv, form.Get("access_token")), 200)
	_, got = say(t, srv, "/oauth/token", `{"data":{"refresh":"`+token.RefreshToken+`"}}`, header)
	if seen := srv.Counters(); got != `{"code":"invalid_grant","ok":false}` || seen.Reuses != 1 {
		t.Errorf("used twice: %s, %d reuses", got, seen.Reuses)
	}
}

// TestLag: the API refuses a token that it does not know of yet.
func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true, Lag: 300 * time.Millisecond})
		token := srv.Issue("alice")
		for after, want := range map[time.Duration]int{0: 401, 299 * time.Millisecond: 401, 300 * time.Millisecond: 200} {
			token := srv.Issue("alice")
			time.Sleep(after)
			wantStatus(t, fmt.Sprint("after ", after), get(t, srv, token.AccessToken), want)
		}
		wantStatus(t, "long after", get(t, srv, token.AccessToken), 200)
	})
}
