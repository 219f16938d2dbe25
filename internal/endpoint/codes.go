package endpoint

import (
	"slices"
	"strings"
	"unicode"
)

// A meaning is what an answer without a token says of the refresh token.
type meaning uint8

const (
	unknown meaning = iota // nothing that is known here: try again later
	dead                   // it is dead: only a login helps
	token                  // a token is dead: this one, if no other was sent
	unless                 // the client, the request or the user is at fault, unless the description says that the token is
	client                 // the client or the request is at fault
	load                   // the server is, for now
)

// codes is what error codes mean, wherever they stand, in any case and with any of "_", "-"
// and "." or none. What is not here says nothing by itself; but a code that names the
// refresh token and what is wrong with it, such as invalid_refresh_token,
// ExpiredRefreshToken or REFRESH_TOKEN_REVOKED, is a description too: see saysDead.
var codes = folded(map[string]meaning{
	// RFC 6749, section 5.2: Google, Microsoft, GitLab, Keycloak, Auth0, Okta, Spotify, Box,
	// Dropbox, Discord, Notion, Xero, QuickBooks, Salesforce and most others.
	"invalid_grant": dead,
	"invalid_code":  dead, // Zoho, with status 200

	// OpenID Connect Core, section 3.1.2.6; Microsoft, when a policy asks for the user.
	"interaction_required":       dead,
	"login_required":             dead,
	"consent_required":           dead,
	"account_selection_required": dead,

	// The session behind the token is over: Supabase, Keycloak.
	"session_not_found":  dead,
	"session_expired":    dead,
	"session_not_active": dead,

	// The user is gone or locked: Firebase, Salesforce, Slack. A login says the rest.
	"user_disabled":    dead,
	"user_not_found":   dead,
	"inactive_user":    dead,
	"inactive_org":     dead,
	"account_inactive": dead,

	// RFC 6750, section 3.1, at a token endpoint: UAA, Zoom and many servers of one API's
	// own. Where the client proves itself by a token, it may be that one.
	"invalid_token":        token,
	"token_expired":        token, // Firebase, Slack, and JSON endpoints
	"expired_token":        token,
	"token_revoked":        token, // Slack
	"revoked_token":        token,
	"token_invalid":        token,
	"token_not_valid":      token, // Django REST Framework Simple JWT
	"token_not_found":      token,
	"token_not_active":     token,
	"invalid_user_token":   token, // Firebase
	"user_token_expired":   token,
	"token_expired_error":  token, // the errors of the usual JWT library for Node.js
	"json_web_token_error": token,

	// RFC 6749, sections 4.1.2.1 and 5.2. Atlassian says unauthorized_client, LinkedIn and
	// Authlib invalid_request of a dead token; the description tells.
	"unauthorized_client": unless,
	"invalid_request":     unless,
	"access_denied":       unless,
	"bad_request":         unless,

	// RFC 6749, section 5.2; RFC 7591, section 3.2.2; RFC 8707, section 2; RFC 9449,
	// sections 5 and 8.
	"invalid_client":               client,
	"invalid_client_id":            client,
	"invalid_client_secret":        client,
	"bad_client_id":                client,
	"bad_client_secret":            client,
	"incorrect_client_credentials": client, // GitHub
	"invalid_client_metadata":      client,
	"invalid_scope":                client,
	"invalid_target":               client,
	"unsupported_grant_type":       client,
	"unsupported_response_type":    client,
	"use_dpop_nonce":               client,
	"invalid_dpop_proof":           client,
	"invalid_api_key":              client,

	// RFC 6749, section 4.1.2.1; RFC 8628, section 3.5; and what everybody says of load.
	"server_error":                load,
	"temporarily_unavailable":     load,
	"internal_server_error":       load,
	"internal_error":              load,
	"service_unavailable":         load,
	"unavailable":                 load,
	"timeout":                     load,
	"slow_down":                   load,
	"authorization_pending":       load,
	"rate_limited":                load,
	"ratelimited":                 load, // Slack
	"rate_limit":                  load,
	"rate_limit_exceeded":         load,
	"over_request_rate_limit":     load, // Supabase
	"too_many_requests":           load,
	"too_many_attempts_try_later": load, // Firebase
	"quota_exceeded":              load,
	"resource_exhausted":          load,
	"request_limit_exceeded":      load, // Salesforce
	"throttled":                   load,
	"throttling":                  load,
	"throttling_exception":        load,
	"concurrent_refresh":          load,
})

func folded(in map[string]meaning) map[string]meaning {
	out := make(map[string]meaning, len(in))
	for code, m := range in {
		out[fold(code)] = m
	}
	return out
}

// meaningOf looks a code up: as it is; without the description behind a colon, as EVE
// Online, Firebase and Withings write it; and without the names before it, as in
// "oauth.v2.InvalidGrant", a URN or a URL.
func meaningOf(code string) meaning {
	head, _, _ := strings.Cut(code, ":")
	tail := code[strings.LastIndexAny(code, ".:/#")+1:]
	for _, s := range []string{code, head, tail} {
		if m := codes[fold(strings.Trim(s, " !."))]; m != unknown {
			return m
		}
	}
	return unknown
}

// What a description says of a dead refresh token, beside its name; what it says of one
// that is missing, or of something else; and of a server that could not look.
var (
	deadWords = []string{
		"invalid", "expired", "revoked", "unknown", "inactive", "already used", "been used", "reused", "reuse", "consumed",
		"rotated", "blacklisted", "blocked", "deleted", "removed", "bad", "malformed", "not valid", "isnt valid", "not found",
		"not active", "not exist", "doesnt exist", "no longer", "not recognized",
	}
	otherWords = []string{
		"missing", "is required", "token required", "must be", "empty", "blank", "parameter", "not provided", "not supported",
		"unsupported", "not allowed", "not enabled", "disabled", "client is", "client has", "client id", "client secret",
		"client credentials", "client authentication", "this client", "grant type", "scope", "dpop", "unknown error",
		"an error", "error occurred", "error while", "internal", "try again", "later", "temporarily", "timeout", "timed out",
		"too many", "rate", "limit", "unavailable",
		// A router, a validator or a database speaks of its own things.
		"route", "endpoint", "path", "url", "uri", "method", "handler", "bad request", "request to", "should not", "field", "argument",
		"property", "json", "syntax", "content type", "relation", "table", "column", "database", "invocation", "connect",
		"connection", "reach", "secret", "signing key", "public key",
	}

	// What a 401 says that is about something else than the token.
	elsewhere = []string{
		"api key", "apikey", "subscription key", "client id", "client secret", "client credentials", "client authentication",
		"too many", "rate limit",
	}
)

// saysDead reports whether text, a code or a description in English, says of the refresh
// token that it is dead.
func saysDead(text string) bool {
	if len(text) > maxSearched {
		return false
	}
	said := words(withoutPaths(text))
	return says(said, refreshWords) && says(said, deadWords) && !says(said, otherWords)
}

// saysElsewhere reports whether text says of something else than a token that it is wrong.
func saysElsewhere(text string) bool { return len(text) <= maxSearched && says(words(text), elsewhere) }

// says reports whether said, which are words, has one of list in it.
func says(said string, list []string) bool {
	said = " " + said + " "
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(said, " "+s+" ") })
}

// refreshWords are the names of a refresh token.
var refreshWords = []string{"refresh token", "refreshtoken"}

// withoutPaths returns text without the paths in it that are named after the refresh token:
// where "POST:/auth/refresh-token" is not found, nothing is said of a token.
func withoutPaths(text string) string {
	if !strings.Contains(text, "/") {
		return text
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(text), func(s string) bool {
		return strings.Contains(s, "/") && says(words(s), refreshWords)
	}), " ")
}

// words returns the words of text in lower case, also those of RefreshTokenExpired and
// refresh_token_expired, with one space between two.
func words(text string) string {
	var b strings.Builder
	var last rune
	for _, r := range text {
		switch {
		case unicode.IsUpper(r) && unicode.IsLower(last):
			b.WriteRune(' ')
			b.WriteRune(unicode.ToLower(r))
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(unicode.ToLower(r))
		case r == '\'': // doesn't
		default:
			b.WriteRune(' ')
		}
		last = r
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
