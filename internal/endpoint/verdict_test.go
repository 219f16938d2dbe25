package endpoint_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestVerdicts: a grant is given up for an answer that says so, wherever and in whatever
// form, and for nothing else. code is what an error shows.
func TestVerdicts(t *testing.T) {
	const js, form, page, text = "application/json", "application/x-www-form-urlencoded; charset=utf-8", "text/html", "text/plain"
	for _, c := range []struct {
		status       int
		kind, body   string
		grant, token bool
		code         string
	}{
		// Where the code is, in which case, and whatever the Content-Type.
		{400, js, `{"error":"invalid_grant"}`, true, true, "invalid_grant"},
		{401, js, `{"error":"invalid_grant"}`, true, true, "invalid_grant"},
		{403, page, `{"error":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, "", `{"error":"INVALID_GRANT"}`, true, true, "INVALID_GRANT"},
		{400, js, `{"error":"InvalidGrant"}`, true, true, "InvalidGrant"},
		{400, js, `{"error":"invalid-grant"}`, true, true, "invalid-grant"},
		{400, js, `{"Error":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, js, `{"error":{"code":"invalid_grant"}}`, true, true, "invalid_grant"},
		{400, js, `{"error":{"type":"invalid_grant","code":400}}`, true, true, "invalid_grant"},
		{400, js, `{"error":{"status":"INVALID_GRANT"}}`, true, true, "INVALID_GRANT"},
		{400, js, `{"code":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, js, `{"errorCode":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, js, `{"error_code":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, js, `{"errors":[{"code":"invalid_grant"}]}`, true, true, "invalid_grant"},
		{400, js, `{"success":false,"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid"}]}`, true, true, "invalid_grant"}, // Fitbit
		{400, js, `{"errors":["invalid_grant"]}`, true, true, "invalid_grant"},
		{400, js, `{"fault":{"faultstring":"x","detail":{"errorcode":"oauth.v2.InvalidRefreshToken"}}}`, true, true, "oauth.v2.InvalidRefreshToken"}, // Apigee
		{400, js, `{"fault":{"code":"invalid_grant"}}`, true, true, "invalid_grant"},
		{400, js, `{"data":{"error":"invalid_grant"}}`, true, true, "invalid_grant"},
		{400, js, `{"detail":{"error":"invalid_grant"}}`, true, true, "invalid_grant"},
		{400, js, `{"message":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, js, `{"type":"https://api.example.com/problems/invalid_grant","title":"no"}`, true, true, "https://api.example.com/problems/invalid_grant"},
		{400, js, `{"error":"invalid_grant: Token is expired or invalid."}`, true, true, "invalid_grant: Token is expired or invalid."}, // EVE Online
		{400, js, "{\"error\":\"invalid_grant\",\"error_description\":\"line\nbreak\"}", true, true, "invalid_grant"},
		{400, js, "\xef\xbb\xbf" + `{"error":"invalid_grant"}`, true, true, "invalid_grant"},
		{400, form, `error=invalid_grant`, true, true, "invalid_grant"},
		{400, js, `error=invalid_grant&error_description=gone`, true, true, "invalid_grant"},
		{400, text, `invalid_grant`, true, true, "invalid_grant"},
		{400, js, string(pack(`{"error":"invalid_grant"}`)), true, true, "invalid_grant"},
		{200, js, `{"error":"invalid_grant"}`, true, true, "invalid_grant"},

		// What the code is.
		{200, js, `{"error":"bad_refresh_token"}`, true, true, "bad_refresh_token"},                    // GitHub
		{200, js, `{"error":"invalid_code"}`, true, true, "invalid_code"},                              // Zoho
		{200, js, `{"ok":false,"error":"invalid_refresh_token"}`, true, true, "invalid_refresh_token"}, // Slack
		{200, js, `{"ok":false,"error":"token_expired"}`, true, true, "token_expired"},                 // Slack
		{200, js, `{"ok":false,"error":"token_revoked"}`, true, true, "token_revoked"},                 // Slack
		{401, js, `{"error":"invalid_token"}`, true, true, "invalid_token"},                            // UAA
		{401, js, `{"error":"invalid_token","error_description":"Invalid refresh token (expired): x"}`, true, true, "invalid_token"},
		{403, js, `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`, true, true, "unauthorized_client"}, // Atlassian
		{400, js, `{"error":"invalid_request","error_description":"The provided refresh token has been revoked"}`, true, true, "invalid_request"},
		{400, js, `{"error":"invalid_request","error_description":"Invalid \"refresh_token\" in request."}`, true, true, "invalid_request"}, // Authlib
		{400, js, `{"error":"invalid_request","reason":"Invalid Token!"}`, true, true, "Invalid Token!"},                                    // Zoom
		{400, js, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`, true, true, "BAD_REFRESH_TOKEN"},           // HubSpot
		{400, js, `{"error":{"code":400,"message":"TOKEN_EXPIRED","status":"INVALID_ARGUMENT"}}`, true, true, "TOKEN_EXPIRED"},              // Firebase
		{400, js, `{"error":{"code":400,"message":"INVALID_REFRESH_TOKEN","status":"INVALID_ARGUMENT"}}`, true, true, "INVALID_REFRESH_TOKEN"},
		{400, js, `{"error":{"code":400,"message":"USER_DISABLED"}}`, true, true, "USER_DISABLED"},
		{400, js, `{"__type":"NotAuthorizedException","message":"Refresh Token has expired"}`, true, true, "NotAuthorizedException"},                                   // Cognito
		{400, js, `{"status":400,"message":"Invalid refresh token"}`, true, true, ""},                                                                                  // Twitch
		{400, js, `{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}`, true, true, "invalid"},                  // Strava
		{400, js, `{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}`, true, true, "refresh_token_not_found"}, // Supabase
		{400, js, `{"code":400,"error_code":"refresh_token_already_used"}`, true, true, "refresh_token_already_used"},
		{200, js, `{"status":503,"body":{},"error":"Invalid Params: invalid refresh_token"}`, true, true, "Invalid Params: invalid refresh_token"}, // Withings
		{200, js, `{"errcode":40030,"errmsg":"invalid refresh_token"}`, true, true, "40030"},                                                       // WeChat
		{400, js, `{"error":"ExpiredRefreshToken"}`, true, true, "ExpiredRefreshToken"},
		{400, js, `{"code":"REFRESH_TOKEN_EXPIRED_OR_INVALID"}`, true, true, "REFRESH_TOKEN_EXPIRED_OR_INVALID"},
		{401, js, `{"detail":"Token is invalid or expired","code":"token_not_valid"}`, true, true, "token_not_valid"},       // Simple JWT
		{400, js, `{"error":"interaction_required","error_description":"AADSTS50076"}`, true, true, "interaction_required"}, // Microsoft
		{401, js, `{"message":"The refresh token has expired. Please log in again."}`, true, true, ""},
		{404, js, `{"message":"Refresh token not found"}`, true, true, ""},
		{400, text, `Invalid refresh token`, true, true, ""},

		// Nothing but the token was at stake, or something else was.
		{401, js, ``, false, true, ""},
		{401, text, `Unauthorized`, false, true, ""},
		{401, js, `{"error":"Unauthorized","message":"Token expired"}`, false, true, "Unauthorized"},
		{401, js, `{"code":401,"msg":"token invalid"}`, false, true, ""},
		{200, js, `{"code":401,"msg":"token invalid"}`, false, true, ""},
		{200, js, `{"status":"401","data":null}`, false, true, ""},
		{401, js, `{"error":"invalid_client"}`, false, false, "invalid_client"},
		{401, js, `{"error":"invalid_client","error_description":"the refresh token is invalid"}`, false, false, "invalid_client"},
		{401, form, `error=invalid_client`, false, false, "invalid_client"},
		{401, js, `{"error":"unauthorized_client"}`, false, false, "unauthorized_client"},
		{401, js, `{"error":"invalid_request","error_description":"Missing refresh_token parameter"}`, false, false, "invalid_request"},
		{400, js, `{"error":"unauthorized_client","error_description":"The client is not allowed to use an expired refresh token"}`, false, false, "unauthorized_client"},
		{401, js, `{"error":"use_dpop_nonce"}`, false, false, "use_dpop_nonce"},
		{401, page, `<html>401</html>`, false, false, ""},
		{400, js, `{"error":"invalid_scope","error_description":"the refresh token has expired scopes"}`, false, false, "invalid_scope"},

		// A router, a gateway, a validator or a database speaks, and of a path, a field or a
		// key of its own.
		{404, js, `{"message":"Route POST:/auth/refresh-token not found","error":"Not Found","statusCode":404}`, false, false, "Not Found"}, // Fastify
		{404, js, `{"error":"unknown endpoint: /api/refresh-token"}`, false, false, "unknown endpoint: /api/refresh-token"},
		{404, text, `/oauth/refresh_token not found`, false, false, ""},
		{404, js, `{"message":"Refresh token endpoint not found"}`, false, false, ""},
		{405, js, `{"message":"Bad method for refresh-token"}`, false, false, ""},
		{403, js, `{"detail":"POST /oauth/refresh_token blocked by rule 942100"}`, false, false, ""},
		{400, js, `{"message":"Invalid JSON in refresh token request"}`, false, false, ""},
		{400, text, `Bad request for refresh token`, false, false, ""},
		{400, js, `{"errors":[{"message":"Unknown argument \"refreshToken\" on field \"Mutation.refresh\"."}]}`, false, false, ""}, // GraphQL
		{400, js, `{"message":"property refreshToken should not exist","error":"Bad Request"}`, false, false, "Bad Request"},       // NestJS
		{400, js, `{"message":"Invalid prisma.refreshToken.findUnique() invocation: Can't reach database server at db:5432"}`, false, false, ""},
		{400, js, `{"message":"relation \"refresh_token\" does not exist"}`, false, false, ""},                                                       // PostgreSQL
		{401, js, `{"message":"No API key found in request"}`, false, false, ""},                                                                     // Kong
		{401, js, `{"statusCode":401,"message":"Access denied due to invalid subscription key."}`, false, false, ""},                                 // Azure API Management
		{401, js, `{"fault":{"detail":{"errorcode":"steps.oauth.v2.FailedToResolveAPIKey"}}}`, false, false, "steps.oauth.v2.FailedToResolveAPIKey"}, // Apigee
		{401, js, `{"message":"Too many attempts"}`, false, false, ""},
		{400, js, `{"message":"invalid access/refresh token"}`, true, true, ""},
		{400, js, `{"message":"The refresh token is invalid/expired, see https://example.com/refresh-token"}`, true, true, ""},

		// Load, and what is not known.
		{408, js, `{"error":"invalid_grant"}`, false, false, "invalid_grant"},
		{425, js, `{"error":"invalid_grant"}`, false, false, "invalid_grant"},
		{429, js, `{"error":"invalid_grant"}`, false, false, "invalid_grant"},
		{500, js, `{"message":"refresh token is invalid"}`, false, false, ""},
		{503, form, `error=invalid_grant`, false, false, "invalid_grant"},
		{400, js, `{"error":"slow_down"}`, false, false, "slow_down"},
		{401, js, `{"error":"temporarily_unavailable","error_description":"refresh token not found"}`, false, false, "temporarily_unavailable"},
		{400, js, `{"error":{"message":"TOO_MANY_ATTEMPTS_TRY_LATER : x"}}`, false, false, ""},
		{200, js, `{"code":429,"message":"invalid refresh token"}`, false, false, ""},
		{200, js, `{"code":429,"status":400,"message":"invalid refresh token"}`, false, false, ""}, // the first place counts
		{200, js, `{"code":400,"status":429,"message":"invalid refresh token"}`, true, true, ""},
		{400, js, `{"error":"server_busy","message":"could not look the refresh token up, try again later"}`, false, false, "server_busy"},
		{400, js, `{"message":"An unknown error occurred with the refresh token"}`, false, false, ""},
		{400, js, `{"error_description":"invalid_grant"}`, false, false, ""},
		{400, js, `{"error":"invalid_grant`, false, false, ""},
		{400, page, `<html>invalid_grant</html>`, false, false, ""},
		{400, page, `<html>your refresh token is invalid</html>`, false, false, ""},
		{403, js, ``, false, false, ""},
		{403, js, `{"error":"something_else"}`, false, false, "something_else"},
		{400, js, `{"error":"E17","help":"if the refresh token is expired, log in"}`, false, false, "E17"},
		{200, js, `{}`, false, false, ""},
		{200, js, `{"status":"error","code":"E17"}`, false, false, "E17"},
	} {
		srv, _ := serve(t, answer(c.status, c.kind, c.body))
		a := wantAnswer(t, refresh(srv))
		if grant, token := endpoint.RefusesGrant(a), endpoint.RefusesToken(a); grant != c.grant || token != c.token {
			t.Errorf("%d %s: %v, %v, want %v, %v", c.status, c.body, grant, token, c.grant, c.token)
		}
		if got := a.Code(); got != c.code {
			t.Errorf("%d %s: code %q, want %q", c.status, c.body, got, c.code)
		}
	}
}

// TestVerdictInTheHeader: RFC 6750, section 3, has the code in the challenge.
func TestVerdictInTheHeader(t *testing.T) {
	for challenge, want := range map[string]bool{
		`Bearer error="invalid_token", error_description="gone"`: true,
		`Bearer realm="x",error="invalid_grant"`:                 true,
		`Bearer realm="my_error=\"invalid_grant\""`:              false,
		`Bearer error="insufficient_scope"`:                      false,
		`Basic realm="token"`:                                    false,
		`DPoP error="use_dpop_nonce"`:                            false,
		`Bearer error=invalid_token`:                             true,
		`Basic realm="x", Bearer Error = "invalid_grant"`:        true,
		`Bearer realm="x error="invalid_grant"`:                  false,
	} {
		srv, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(401)
		})
		if got := endpoint.RefusesGrant(wantAnswer(t, refresh(srv))); got != want {
			t.Errorf("%s: %v, want %v", challenge, got, want)
		}
	}
}

// TestVerdictOfAnotherToken: invalid_token may be about what the client proves itself with.
func TestVerdictOfAnotherToken(t *testing.T) {
	for name, c := range map[string]struct {
		authenticate func(form url.Values, header http.Header)
		body         string
		want         bool
	}{
		"none":                       {func(url.Values, http.Header) {}, `{"error":"invalid_token"}`, true},
		"Basic":                      {func(_ url.Values, h http.Header) { h.Set("Authorization", "Basic x") }, `{"error":"invalid_token"}`, true},
		"Bearer":                     {func(_ url.Values, h http.Header) { h.Set("Authorization", "Bearer x") }, `{"error":"invalid_token"}`, false},
		"assertion":                  {func(f url.Values, _ http.Header) { f.Set("client_assertion", "x") }, `{"error":"invalid_token"}`, false},
		"assertion, but it is said":  {func(f url.Values, _ http.Header) { f.Set("client_assertion", "x") }, `{"error":"invalid_token","error_description":"refresh token expired"}`, true},
		"assertion, and it is known": {func(f url.Values, _ http.Header) { f.Set("client_assertion", "x") }, `{"error":"invalid_grant"}`, true},
	} {
		srv, _ := serve(t, answer(401, "application/json", c.body))
		call := refresh(srv)
		call.Authenticate = func(_ context.Context, _ string, form url.Values, header http.Header) error {
			c.authenticate(form, header)
			return nil
		}
		if got := endpoint.RefusesGrant(wantAnswer(t, call)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
