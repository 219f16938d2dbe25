package tokenclient

import (
	"context"
	"encoding/base64"
	"errors"
	"html"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	maxCode        = 64               // bytes of TokenError.Code
	maxDescription = 200              // bytes of TokenError.Description
	maxSearched    = 4 << 10          // bytes that are searched for secrets
	maxRetryAfter  = 10 * time.Minute // what a server may ask for
	minLeak        = 16               // so many bytes of a longer secret are a leak
	redacted       = "[redacted]"
)

// endpointName is what an error may show of a URL: no query, in which keys travel.
func endpointName(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Host + u.EscapedPath()
}

// fail makes the error of a call that brought no answer, or not a whole one.
func (c *endpointCall) fail(status int, err error) *TokenError {
	return &TokenError{Endpoint: endpointName(c.url), StatusCode: status, Err: err}
}

// fail makes the error of an answer that is not what was wanted.
func (a *endpointAnswer) fail(err error) *TokenError {
	e := a.call.fail(a.status, err)
	code, description := a.problem()
	e.Code, e.Description = a.call.show(rfcCode(code), maxCode), a.call.show(description, maxDescription)
	e.RetryAfter = retryAfter(a.header)
	if e.Err == nil && isHTML(a.body) {
		e.Err = errAnswerHTML
	}
	return e
}

// problem returns the error code and description as the server sent them (RFC
// 6749, section 5.2). JSON endpoints of other kinds put an object in the place of
// the code, or call things otherwise.
func (a *endpointAnswer) problem() (code, description string) {
	if mt, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); mt == "application/x-www-form-urlencoded" {
		// What parses is kept, whatever the error.
		form, _ := url.ParseQuery(string(a.body[:min(len(a.body), maxAnswer)]))
		return form.Get("error"), form.Get("error_description")
	}
	m, err := decodeAnswer(a.body)
	if err != nil {
		return "", ""
	}
	if inner, ok := m["error"].(map[string]any); ok {
		code, description = text(inner, "code"), text(inner, "message")
	}
	if code == "" {
		code = text(m, "error", "code")
	}
	if description == "" {
		description = text(m, "error_description", "message")
	}
	return code, description
}

// text returns the first of the members that is a string and not empty.
func text(m map[string]any, names ...string) string {
	for _, name := range names {
		if s, _ := m[name].(string); s != "" {
			return s
		}
	}
	return ""
}

// refusesToken reports whether the answer says that the refresh token is dead for
// good. A server that is overloaded or broken says nothing about it, whatever its
// body claims. GitHub refuses with status 200 and a code of its own.
func (a *endpointAnswer) refusesToken() bool {
	switch s := a.status; {
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return false
	}
	code, _ := a.problem()
	return code == "invalid_grant" || code == "bad_refresh_token"
}

// rfcCode drops what RFC 6749, section 5.2, does not allow in an error code.
func rfcCode(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// show makes what a server wrote fit for a log: without control characters, short,
// and nothing at all if the server echoes a secret that it was sent.
func (c *endpointCall) show(s string, limit int) string {
	// Searched before it is cut: the cut may leave a piece that is not recognized.
	s = clean(s, maxSearched)
	if c.leaks(s) {
		return redacted
	}
	return clean(s, limit)
}

// clean removes what does not print, such as line breaks, and cuts to limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

// leaks reports whether s holds a secret of c or at least 16 bytes of one, in any
// case of letters and in the usual ways of escaping.
func (c *endpointCall) leaks(s string) bool {
	s = strings.ToLower(s)
	for _, secret := range c.secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)} {
			form = strings.ToLower(form)
			if form == "" {
				continue
			}
			if strings.Contains(s, form) {
				return true
			}
			for i := 0; len(form) > minLeak && i+minLeak <= len(s); i++ {
				if strings.Contains(form, s[i:i+minLeak]) {
					return true
				}
			}
		}
	}
	return false
}

// notSecret are the members of a form that everybody may see. It is useful if an
// error names the scope that a server does not know.
var notSecret = []string{"grant_type", "client_id", "scope", "audience", "resource", "token_type_hint", "client_assertion_type"}

// secretsOf returns what must not be shown of a form and of what a ClientAuth put
// into the header.
func secretsOf(form url.Values, header http.Header) []string {
	var list []string
	for name, values := range form {
		if !slices.Contains(notSecret, name) {
			list = append(list, values...)
		}
	}
	for _, values := range header {
		for _, v := range values {
			_, credentials, _ := strings.Cut(v, " ") // after the scheme
			list = append(list, v, credentials)
			if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				_, secret, _ := strings.Cut(string(pair), ":")
				plain, _ := url.QueryUnescape(secret)
				list = append(list, secret, plain)
			}
		}
	}
	return list
}

// safe returns err, which came from a transport, without secrets. A [*url.Error]
// shows the query of the URL; others may quote what a broken server sent.
//
// Nor may it be one of this package's verdicts: if the transport is that of
// another session, its need of a login is not ours.
func (c *endpointCall) safe(err error) error {
	for u := (*url.Error)(nil); errors.As(err, &u) && u.Err != nil; {
		err = u.Err
	}
	switch err.(type) {
	case *net.OpError, *net.DNSError: // they quote nothing that came from outside
		return err
	}
	text := err.Error()
	verdict := func(s error) bool { return errors.Is(err, s) }
	switch {
	case len(text) > maxSearched || c.leaks(text):
		text = "the call failed; why is left out, because it may hold a secret"
	case !slices.ContainsFunc([]error{ErrLoginRequired, ErrNotPresented, ErrReplaced, ErrOvertaken, ErrNoToken}, verdict):
		return err
	}
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cause) {
			return &textError{text, cause}
		}
	}
	return errors.New(text)
}

// textError has a text of its own instead of its cause's.
type textError struct {
	text  string
	cause error
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.cause }

// retryAfter reads the Retry-After field (RFC 9110, section 10.2.3), at most
// maxRetryAfter. A date is taken relative to the server's own clock if it tells.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, ok := parseNumber(v); ok {
		return time.Duration(min(max(seconds, 0), maxRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
