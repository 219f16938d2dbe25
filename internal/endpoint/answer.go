package endpoint

import (
	"mime"
	"net/http"
	"net/url"
	"time"
)

// An Answer is a complete answer that is not a redirect.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte    // one byte over 1 MiB if it was longer than that
	Sent   time.Time // when the request began

	call *Call
}

// OK reports whether the answer is a success.
func (a *Answer) OK() bool { return a.Status < 300 }

// Code returns the error code, wherever the server put it; "" if there is none.
func (a *Answer) Code() string {
	code, _ := a.problem()
	return code
}

// problem returns the error code and description as the server sent them (RFC
// 6749, section 5.2). JSON endpoints of other kinds put an object in the place of
// the code, or call things otherwise.
func (a *Answer) problem() (code, description string) {
	if mt, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); mt == "application/x-www-form-urlencoded" {
		// What parses is kept, whatever the error.
		form, _ := url.ParseQuery(string(a.Body[:min(len(a.Body), maxAnswer)]))
		return form.Get("error"), form.Get("error_description")
	}
	m, err := Decode(a.Body)
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
