package tokenclient

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// A Token is what an authorization server issues at login and at each refresh:
// an access token, which goes with every request, and a refresh token, which
// buys the next pair (RFC 6749, section 1.5).
//
// A Token never shows its secrets when it is printed, logged or marshalled to
// JSON; read the fields to get them. One thing it cannot prevent: package fmt calls
// no methods of what is in an unexported field of a struct. Hold a Token by pointer
// there, and print such a struct with no verb but %v, %+v and %#v, which show an
// address.
//
// A Token that was handed to a [Session], or that a Session handed to a
// [Refresher] or an [Attacher], must not be changed; [Token.Clone] makes a copy
// that may be.
type Token struct {
	// AccessToken is the credential that resource servers accept. It is empty only before the
	// first request: after a login with a refresh token alone (see [Session.SetToken]), or in
	// a session that needs no login (see [Refresher]).
	AccessToken string

	// RefreshToken buys the next pair. Empty: there is none.
	RefreshToken string

	// TokenType says how the access token is presented, if it is a scheme that
	// [Bearer] knows. Empty, and all others, mean Bearer.
	TokenType string

	// Scope is what was granted, as a list separated by spaces. Empty: the
	// server did not say.
	Scope string

	// Expiry is when the access token stops being accepted, by the local wall
	// clock. Zero: unknown; then only a rejection tells.
	Expiry time.Time

	// RefreshExpiry is when the refresh token stops being accepted. Zero:
	// unknown. It informs people; the Session always asks the server.
	RefreshExpiry time.Time

	// Issued is when the response that brought this token was asked for. The
	// time before Expiry at which a Session refreshes scales with Expiry minus
	// Issued, and two tokens with the same text are told apart by it.
	Issued time.Time

	// Extra holds the members of the server's answers that have no field here,
	// such as "id_token". Numbers are of type [json.Number]. What a login or an
	// earlier refresh brought stays until a refresh brings a member of the same
	// name, null included, but for those in [JSONFields].Once. No more stay than
	// make 64 with those of the newest answer.
	Extra map[string]any

	// Audiences are the access tokens of Config.Audiences, by Audience.Name. Nil: there are
	// none yet.
	Audiences map[string]AudienceToken

	// Binding is what the tokens are bound to, if they are of no use without a key: the key
	// itself, or what tells which one it was. It is text that the [Binder] made who had the
	// server bind them (package dpop has one), and a secret like the tokens. What a login
	// brought stays with each refresh. Empty: nothing.
	Binding string

	once *JSONFields // has the names in Extra that are of one answer only; nil: none are
}

// Clone returns a copy of t whose Extra and Audiences may be changed without changing t's.
// Values inside of them are shared. Clone of
// nil is nil.
func (t *Token) Clone() *Token {
	if t == nil {
		return nil
	}
	c := *t
	c.Extra, c.Audiences = maps.Clone(t.Extra), maps.Clone(t.Audiences)
	return &c
}

// empty reports whether t is what a session begins with that needs no login.
func (t *Token) empty() bool { return t.AccessToken == "" && t.RefreshToken == "" }

// String describes t without its secrets: which of them are there, and the
// expiry.
func (t Token) String() string {
	var b strings.Builder
	b.WriteString("Token{")
	switch {
	case t.AccessToken != "" && t.RefreshToken != "":
		b.WriteString("access and refresh token")
	case t.AccessToken != "":
		b.WriteString("access token")
	case t.RefreshToken != "":
		b.WriteString("refresh token")
	default:
		b.WriteString("empty")
	}
	if !t.Expiry.IsZero() {
		b.WriteString(", expiry ")
		b.WriteString(t.Expiry.Format(time.RFC3339))
	}
	b.WriteString("}")
	return b.String()
}

// GoString is [Token.String]; it makes %#v safe.
func (t Token) GoString() string { return t.String() }

// Format writes [Token.String], whatever the verb. (For %p and for %w without an
// error, which go vet reports, package fmt does not ask.)
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is [Token.String] for package log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalJSON marshals [Token.String], so that a token inside a value that is
// logged as JSON shows no secret. It cannot be read back: stores encode tokens
// with a format of their own.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// JSONFields names the members of a token response. An empty name is the one of
// RFC 6749, section 5.1, as given at each field; [ParseToken] says what else is found in an answer without being named. A dot goes into an object:
// "data.accessToken" is the member accessToken of the object data. There is no way
// to name a member of JSON that has a dot in its own name. No two names may be of
// the same member, or of one inside of another.
type JSONFields struct {
	// AccessToken: "access_token" if empty.
	AccessToken string

	// RefreshToken: "refresh_token" if empty.
	RefreshToken string

	// TokenType: "token_type" if empty.
	TokenType string

	// ExpiresIn holds the lifetime of the access token in seconds: "expires_in"
	// if empty.
	ExpiresIn string

	// RefreshExpiresIn holds the lifetime of the refresh token in seconds. The
	// RFC has none; if empty it is "refresh_expires_in",
	// "refresh_token_expires_in" or "x_refresh_token_expires_in".
	RefreshExpiresIn string

	// AbsoluteExpiry holds the time at which the access token ends: a number since 1970,
	// or a date. It is asked if there is no lifetime. The RFC has none; if empty it is
	// found by the names that are in use (see [ParseToken]).
	AbsoluteExpiry string

	// RefreshAbsoluteExpiry is AbsoluteExpiry for the refresh token.
	RefreshAbsoluteExpiry string

	// Once lists members that are of one answer only, by the name that they have in
	// [Token.Extra]: a refresh drops them, if its own answer does not have them. Other
	// members stay, as no refresh may bring what a login did. Nil: all stay.
	Once []string
}

// checkResponse reports what is wrong with f, in field, as the names of what is read: what
// one has taken, another does not find.
func (f *JSONFields) checkResponse(field string) error {
	members := []check.Member{
		{"AccessToken", cmp.Or(f.AccessToken, "access_token")},
		{"RefreshToken", cmp.Or(f.RefreshToken, "refresh_token")},
		{"TokenType", cmp.Or(f.TokenType, "token_type")},
		{"ExpiresIn", cmp.Or(f.ExpiresIn, "expires_in")},
		{"RefreshExpiresIn", cmp.Or(f.RefreshExpiresIn, "refresh_expires_in")},
	}
	if f.AbsoluteExpiry != "" {
		members = append(members, check.Member{"AbsoluteExpiry", f.AbsoluteExpiry})
	}
	if f.RefreshAbsoluteExpiry != "" {
		members = append(members, check.Member{"RefreshAbsoluteExpiry", f.RefreshAbsoluteExpiry})
	}
	return check.Members(field, members...)
}

// ParseToken reads the answer of a token endpoint, for logins and Refreshers of
// your own; those of this package use it too. sent is when the request was sent,
// from which lifetimes are counted, since the server's clock may differ; zero
// means now. f names the members; nil means the names of RFC 6749.
//
// The old token was spent for the new one, so nothing but the lack of an access
// token is an error. Everything else that cannot be used is as good as absent.
//
// # What an answer is
//
// body is read by what it is, whatever its Content-Type was: a JSON object (RFC
// 6749, section 5.1) or a form; alone in a list, or in a JSON string; in UTF-8 or
// UTF-16, with a byte order mark or without; in gzip that was not undone; with
// something before or after it, such as a comment, a callback, a guard against
// inclusion, or a warning of the server's language. Of several objects the first
// one with an access token counts. A page for people is never searched. JSON that
// breaks off, is broken, or is longer than 1 MiB is read as far as possible, and
// counts if the access token is there and no refresh token can have been lost.
//
// # Where the tokens are
//
// The access token is the member that f names. If there is none, it is access_token
// in another spelling (accessToken, Access-Token, ACCESS_TOKEN); or that in the one
// object that has it, at most three deep. If f names nothing, the members access,
// token, auth_token and jwt follow, in the answer or in an object that wraps it
// (data, result, body, response, payload, content, tokens, token, auth, session),
// alone or as an object with a member token. Nothing is guessed if two of them
// differ, nor from an answer with an error in it. All else is taken from beside the
// access token, in any spelling, or from the objects around it, but not from those
// with an access token of their own.
//
// An access token is printable ASCII (RFC 6749, appendix A.12); white space around
// it is dropped, and a number is its text. An answer without a refresh token that
// can be used gives a Token without one: a [Session] keeps the old one then (RFC
// 6749, section 6), and so should other callers.
//
// # When the tokens end
//
// The lifetime may be a number, a string, or a duration like "1h" or "7d". If there
// is none that makes sense, there may be a time: AbsoluteExpiry in f, expires_at,
// expires_on, expires, expiration, valid_until and the like, as a number or as RFC
// 3339, RFC 9110 or databases write dates. One rule reads all numbers, whatever their name is:
//
//   - If the access token is a JWT whose exp minus iat says how long it lives, the
//     first of these that is within 10 % of that: seconds, milliseconds, a time since
//     1970 in seconds, one in milliseconds.
//   - Else a time since 1970 if that lies in the future, by at most ten years in
//     seconds.
//   - Else milliseconds if that makes whole minutes, while as seconds it would be a
//     week or more and neither whole days (up to 400) nor whole years: 3600000 is
//     an hour.
//   - Else seconds; a fraction is cut off.
//
// No token lives longer than exp minus iat says, or than 100 years. If nothing makes
// sense, exp decides alone, and without it Expiry is zero. Times count from the Date
// of the answer where the caller has it, as the Refreshers of this package do, and
// from sent where not. The end of the refresh token is read in the same way
// (refresh_expires_in, refresh_token_expires_in, refresh_token_expires_at and the like),
// but never from a JWT.
//
// # What is left
//
// TokenType is kept as the server wrote it, but one that cannot stand in a header
// is ignored; see [Bearer] for what is made of it. A scope that is an array is joined
// by spaces. Members that became a field of the Token are not in Extra; all others
// are, and Extra is nil if there are none. Of an object that a token was taken from,
// Extra keeps what was not read. The members of a form are strings.
//
// Errors say what is wrong with the answer and never show any of it.
func ParseToken(body []byte, sent time.Time, f *JSONFields) (*Token, error) {
	return parseToken(body, endpoint.Clock{Sent: sent}, f)
}

// parseToken is ParseToken of an answer that may have told the time.
func parseToken(body []byte, c endpoint.Clock, f *JSONFields) (*Token, error) {
	if f == nil {
		f = new(JSONFields)
	}
	if c.Sent.IsZero() {
		c.Sent = time.Now()
	}
	c.Sent = c.Sent.Round(0)
	t, err := endpoint.Read(body, endpoint.Names{
		AccessToken: f.AccessToken, RefreshToken: f.RefreshToken, TokenType: f.TokenType,
		ExpiresIn: f.ExpiresIn, RefreshExpiresIn: f.RefreshExpiresIn,
		ExpiresAt: f.AbsoluteExpiry, RefreshExpiresAt: f.RefreshAbsoluteExpiry,
	}, c)
	if err != nil {
		return nil, err
	}
	parsed := &Token{
		AccessToken: t.Access, RefreshToken: t.Refresh, TokenType: t.Type, Scope: t.Scope,
		Expiry: t.Expiry, RefreshExpiry: t.RefreshExpiry, Issued: c.Sent, Extra: t.Extra,
	}
	if len(f.Once) > 0 {
		parsed.once = f
	}
	return parsed, nil
}
