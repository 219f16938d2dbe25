package tokenclient

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// JSONFields names the members of a JSON token request or response. An empty
// name is the one of RFC 6749, section 5.1, as given at each field. A dot goes
// into an object: "data.accessToken" is the member accessToken of the object
// data. There is no way to name a member that has a dot in its own name.
type JSONFields struct {
	// AccessToken: "access_token" if empty.
	AccessToken string

	// RefreshToken: "refresh_token" if empty.
	RefreshToken string

	// TokenType: "token_type" if empty. It is not used in requests.
	TokenType string

	// ExpiresIn holds the lifetime of the access token in seconds: "expires_in"
	// if empty. It is not used in requests.
	ExpiresIn string

	// RefreshExpiresIn holds the lifetime of the refresh token in seconds. The
	// RFC has none; if empty it is "refresh_expires_in" or, failing that,
	// "refresh_token_expires_in", which are the two in use. It is not used in
	// requests.
	RefreshExpiresIn string
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
