package tokenclient

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"time"
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
	// AccessToken is the credential that resource servers accept. It is never
	// empty in a Token that a Session holds.
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
