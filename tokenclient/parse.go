package tokenclient

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxAnswer is the longest answer of a token endpoint that is read.
const maxAnswer = 1 << 20

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
	m, err := decodeAnswer(body)
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
	if t.AccessToken, err = takeToken(m, cmp.Or(f.AccessToken, "access_token")); err != nil {
		return nil, err
	}
	if t.AccessToken == "" {
		return nil, fmt.Errorf("answer has no %s", cmp.Or(f.AccessToken, "access_token"))
	}
	if t.RefreshToken, err = takeToken(m, cmp.Or(f.RefreshToken, "refresh_token")); err != nil {
		return nil, err
	}
	t.TokenType = takeType(m, cmp.Or(f.TokenType, "token_type"))
	t.Expiry = addLifetime(t.Issued, takeSeconds(m, cmp.Or(f.ExpiresIn, "expires_in")))
	if t.Expiry.IsZero() {
		t.Expiry, _ = jwtExpiry(t.AccessToken, t.Issued)
	}
	refreshIn := takeSeconds(m, cmp.Or(f.RefreshExpiresIn, "refresh_expires_in"))
	if f.RefreshExpiresIn == "" && refreshIn == 0 {
		refreshIn = takeSeconds(m, "refresh_token_expires_in")
	}
	t.RefreshExpiry = addLifetime(t.Issued, refreshIn)
	t.Scope = takeScope(m)
	if len(m) > 0 {
		t.Extra = m
	}
	return t, nil
}

// What is wrong with an answer. The text of the answer is not shown: it may hold
// tokens, and logs are read by many.
var (
	errAnswerTooLong = errors.New("answer is longer than 1 MiB")
	errAnswerEmpty   = errors.New("answer is empty")
	errAnswerHTML    = errors.New("answer is HTML, not JSON")
)

// decodeAnswer decodes a JSON object and nothing after it.
func decodeAnswer(body []byte) (map[string]any, error) {
	if len(body) > maxAnswer {
		return nil, errAnswerTooLong
	}
	body = trimAnswer(body)
	switch {
	case len(body) == 0:
		return nil, errAnswerEmpty
	case isHTML(body):
		return nil, errAnswerHTML
	case body[0] != '{':
		return nil, errors.New("answer is not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // large numbers in Extra stay exact
	var m map[string]any
	switch err := dec.Decode(&m); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("answer is cut off: its JSON has no end")
	case err != nil: // its text quotes the answer
		return nil, errors.New("answer is not valid JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("answer has something after its JSON object")
	}
	return m, nil
}

// trimAnswer drops space and a byte order mark.
func trimAnswer(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
}

// isHTML reports whether body is a page for people: then it is from a proxy or a
// portal on the way, more likely than from a token endpoint.
func isHTML(body []byte) bool { return bytes.HasPrefix(trimAnswer(body), []byte("<")) }

// take removes the member that the dotted name means and returns its value, nil
// if there is none. An object that is empty afterwards goes too.
func take(m map[string]any, name string) any {
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		v := m[first]
		delete(m, first)
		return v
	}
	inner, ok := m[first].(map[string]any)
	if !ok {
		return nil
	}
	v := take(inner, rest)
	if len(inner) == 0 {
		delete(m, first)
	}
	return v
}

// takeToken takes an access or refresh token; null and absent give "".
func takeToken(m map[string]any, name string) (string, error) {
	v := take(m, name)
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", fmt.Errorf("%s in the answer is not a string", name)
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return "", fmt.Errorf("%s in the answer holds characters that no token may have (RFC 6749, appendix A)", name)
	case strings.TrimSpace(s) != s:
		return "", fmt.Errorf("%s in the answer begins or ends with a space", name)
	}
	return s, nil
}

// takeType takes the token type. It goes into a header, so one that cannot is not
// used; an error would throw away a pair that was paid for with the old one.
func takeType(m map[string]any, name string) string {
	s, _ := take(m, name).(string)
	if strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return ""
	}
	return s
}

// takeSeconds takes a lifetime; 0 if it is absent or makes no sense.
func takeSeconds(m map[string]any, name string) time.Duration {
	var text string
	switch v := take(m, name).(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	f, ok := parseNumber(text)
	if !ok || f < 1 {
		return 0
	}
	return time.Duration(min(f, maxLifetime.Seconds())) * time.Second
}

// takeScope takes the scope, a string or an array of strings. Anything else
// stays, and so ends up in Extra.
func takeScope(m map[string]any) string {
	switch v := m["scope"].(type) {
	case string:
		delete(m, "scope")
		return v
	case []any:
		list := make([]string, len(v))
		for i, s := range v {
			var ok bool
			if list[i], ok = s.(string); !ok {
				return ""
			}
		}
		delete(m, "scope")
		return strings.Join(list, " ")
	}
	return ""
}
