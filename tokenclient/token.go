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

	// TokenType says how the access token is presented. Empty means Bearer.
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

	// Extra holds the members of the server's last answer that have no field
	// here, such as "id_token". Numbers are of type [json.Number].
	Extra map[string]any
}

// Clone returns a copy of t whose Extra may be changed without changing t's.
// Values inside Extra that are maps or slices themselves are shared. Clone of
// nil is nil.
func (t *Token) Clone() *Token {
	if t == nil {
		return nil
	}
	c := *t
	c.Extra = maps.Clone(t.Extra)
	return &c
}

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

// JSONFields names the members of a token response. An empty
// name is the one of RFC 6749, section 5.1, as given at each field. A dot goes
// into an object: "data.accessToken" is the member accessToken of the object
// data. There is no way to name a member that has a dot in its own name.
// No two names may be of the same member, or of one inside of another.
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
	// RFC has none; if empty it is "refresh_expires_in" or, failing that,
	// "refresh_token_expires_in", which are the two in use. It is not used in
	// requests.
	RefreshExpiresIn string
}

// checkResponse reports what is wrong with f, in field, as the names of what is read: what
// one has taken, another does not find.
func (f *JSONFields) checkResponse(field string) error {
	return checkMembers(field,
		member{"AccessToken", cmp.Or(f.AccessToken, "access_token")},
		member{"RefreshToken", cmp.Or(f.RefreshToken, "refresh_token")},
		member{"TokenType", cmp.Or(f.TokenType, "token_type")},
		member{"ExpiresIn", cmp.Or(f.ExpiresIn, "expires_in")},
		member{"RefreshExpiresIn", cmp.Or(f.RefreshExpiresIn, "refresh_expires_in")})
}

// ParseToken reads the answer of a token endpoint, for logins and Refreshers of
// your own; those of this package use it too. body is a JSON object of at most
// 1 MiB. sent is when the request was sent, from which lifetimes are counted,
// since the server's clock may differ; zero means now. f names the members; nil
// means the names of RFC 6749.
//
// The access token must be there. Tokens must be printable ASCII (RFC 6749,
// appendix A.12 and A.17) and neither begin nor end with a space. An answer
// without a refresh token gives a Token without one: a [Session] keeps the old
// one then (RFC 6749, section 6), and so should other callers.
//
// The lifetime of the access token may be a number or a string, and a fraction is
// cut off. If it is absent, zero, negative or not a number, the claims exp and
// iat of the access token decide if that is a JWT: exp minus iat is the lifetime,
// or exp is the expiry if there is no iat; seconds and milliseconds are told
// apart by size. If they do not say either, Expiry is zero. No lifetime is longer
// than 100 years. The lifetime of the refresh token is read in the same way, but
// never from a JWT.
//
// TokenType is kept as the server wrote it, but one that cannot stand in a header
// is ignored. A scope that is an array is joined by spaces. Members that became a
// field of the Token are not in Extra; all others are, and Extra is nil if there
// are none. Of an object that a dotted name goes into, Extra keeps what was not
// read.
//
// Errors say what is wrong with the answer and never show any of it.
func ParseToken(body []byte, sent time.Time, f *JSONFields) (*Token, error) {
	m, err := endpoint.Decode(body)
	if err != nil {
		return nil, err
	}
	if f == nil {
		f = new(JSONFields)
	}
	if sent.IsZero() {
		sent = time.Now()
	}
	t := &Token{Issued: sent.Round(0)}
	if t.AccessToken, err = m.TakeToken(cmp.Or(f.AccessToken, "access_token")); err != nil {
		return nil, err
	}
	if t.AccessToken == "" {
		return nil, fmt.Errorf("answer has no %s", cmp.Or(f.AccessToken, "access_token"))
	}
	if t.RefreshToken, err = m.TakeToken(cmp.Or(f.RefreshToken, "refresh_token")); err != nil {
		return nil, err
	}
	t.TokenType = m.TakeType(cmp.Or(f.TokenType, "token_type"))
	t.Expiry = endpoint.Expiry(t.Issued, m.TakeLifetime(cmp.Or(f.ExpiresIn, "expires_in")))
	if t.Expiry.IsZero() {
		t.Expiry, _ = endpoint.JWTExpiry(t.AccessToken, t.Issued)
	}
	refreshIn := m.TakeLifetime(cmp.Or(f.RefreshExpiresIn, "refresh_expires_in"))
	if f.RefreshExpiresIn == "" && refreshIn == 0 {
		refreshIn = m.TakeLifetime("refresh_token_expires_in")
	}
	t.RefreshExpiry = endpoint.Expiry(t.Issued, refreshIn)
	t.Scope = m.TakeScope()
	if len(m) > 0 {
		t.Extra = m
	}
	return t, nil
}
