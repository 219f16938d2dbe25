package endpoint

import (
	"net/http"
	"slices"
)

// RefusesGrant reports whether the answer says by its code that the grant is dead for
// good: that of RFC 6749, section 5.2, or GitHub's, which refuses with status 200. A server
// that is overloaded or broken says nothing about it, whatever its body claims.
func RefusesGrant(a *Answer) bool {
	switch s := a.Status; {
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return false
	}
	code, _ := a.problem()
	return code == "invalid_grant" || code == "bad_refresh_token"
}

// RefusesToken is [RefusesGrant] for an endpoint where the token is the only credential
// that it is sent: there a 401 is about the token too, unless it says otherwise or is
// HTML, which a proxy may have sent.
func RefusesToken(a *Answer) bool {
	if RefusesGrant(a) {
		return true
	}
	code, _ := a.problem()
	return a.Status == http.StatusUnauthorized && !isHTML(a.Body) && !slices.Contains(notTheToken, code)
}

// notTheToken are the error codes that a 401 may have without a word about the
// refresh token: RFC 6749, sections 4.1.2.1 and 5.2; RFC 8628, section 3.5; RFC
// 9449, sections 5 and 8.
var notTheToken = []string{
	"invalid_client", "unauthorized_client", "invalid_request", "invalid_scope",
	"unsupported_grant_type", "unsupported_response_type", "access_denied",
	"server_error", "temporarily_unavailable", "slow_down",
	"use_dpop_nonce", "invalid_dpop_proof",
}
