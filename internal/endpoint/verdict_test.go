package endpoint_test

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestVerdicts: a grant is given up for an answer that says so, and for nothing else.
func TestVerdicts(t *testing.T) {
	const js, form, page = "application/json", "application/x-www-form-urlencoded; charset=utf-8", "text/html"
	for _, c := range []struct {
		status       int
		kind, body   string
		grant, token bool
	}{
		{400, js, `{"error":"invalid_grant"}`, true, true},
		{401, js, `{"error":"invalid_grant"}`, true, true},
		{400, js, `{"error":{"code":"invalid_grant"}}`, true, true},
		{400, js, `{"code":"invalid_grant"}`, true, true},
		{400, form, `error=invalid_grant`, true, true},
		{200, js, `{"error":"bad_refresh_token"}`, true, true},
		{408, js, `{"error":"invalid_grant"}`, false, false},
		{425, js, `{"error":"invalid_grant"}`, false, false},
		{429, js, `{"error":"invalid_grant"}`, false, false},
		{503, form, `error=invalid_grant`, false, false},
		{401, js, ``, false, true},
		{401, js, `{"error":"invalid_token"}`, false, true},
		{401, "text/plain", `Unauthorized`, false, true},
		{401, js, `{"error":"invalid_client"}`, false, false},
		{401, form, `error=invalid_client`, false, false},
		{401, js, `{"error":"use_dpop_nonce"}`, false, false},
		{401, page, `<html>401</html>`, false, false},
		{403, js, ``, false, false},
		{400, js, `{"error_description":"invalid_grant"}`, false, false},
		{400, js, `{"error":"invalid_grant`, false, false},
		{400, page, `<html>invalid_grant</html>`, false, false},
		{200, js, `{}`, false, false},
	} {
		srv, _ := serve(t, answer(c.status, c.kind, c.body))
		a := wantAnswer(t, refresh(srv))
		if grant, token := endpoint.RefusesGrant(a), endpoint.RefusesToken(a); grant != c.grant || token != c.token {
			t.Errorf("%d %s: %v, %v, want %v, %v", c.status, c.body, grant, token, c.grant, c.token)
		}
	}
}
