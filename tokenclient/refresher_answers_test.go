package tokenclient_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestRefresherAnswers is the table of answers that must and must not end a
// session: tokens are given up for a terminal answer only.
func TestRefresherAnswers(t *testing.T) {
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
