package tokenclient

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

// What the parts of a Config have in common, and what can be wrong with each. Messages
// begin with the field and end with what to write there. They show no secret: no URL, no
// value of a param, nothing of a client's secret.

// validator is what a Refresher, a ClientAuth or an Attacher may be besides. The
// documentation of [Refresher] says what it means.
type validator interface{ Validate() error }

// checkPart reports what is wrong with v, a Refresher, a ClientAuth or an Attacher that
// is in field: that it is a nil pointer, or what it says itself.
func checkPart(field string, v any) error {
	if isNil(v) {
		return fmt.Errorf("%s holds a nil pointer, a %T; assign one that points to something", field, v)
	}
	part, ok := v.(validator)
	if !ok {
		return nil
	}
	err := part.Validate()
	if err == nil {
		return nil
	}
	hint := ""
	if own, ok := err.(*invalidError); ok && own.part != v {
		// Validate is promoted with all that is embedded, while Refresh may be another.
		hint = fmt.Sprintf(" (if a %T can do without, have its own method Validate say so)", v)
	}
	was := err.Error()
	if text := redact.URLs(was, err); text != was {
		err = redact.Error(text, err)
	}
	return fmt.Errorf("%s: %w%s", field, err, hint)
}

// invalidError is what a part of this package says of itself.
type invalidError struct {
	part any
	err  error
}

func (e *invalidError) Error() string { return e.err.Error() }
func (e *invalidError) Unwrap() error { return e.err }

// invalid returns the first of errs as what is wrong with part; nil if there is none.
func invalid(part any, errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return &invalidError{part, err}
		}
	}
	return nil
}

// isNil finds nil pointers in interfaces, which would panic at the first refresh.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map:
		return r.IsNil()
	}
	return false
}

// checkEndpoint reports what is wrong with the URL of an endpoint.
func checkEndpoint(field, rawURL string, insecureHTTP bool) error {
	return (&endpoint.Call{Field: field, URL: rawURL, InsecureHTTP: insecureHTTP}).Check()
}

// checkClient reports what is wrong with an HTTPClient, which may be nil.
func checkClient(field string, c *http.Client) error {
	switch {
	case c == nil:
	case c.Transport != nil && isNil(c.Transport):
		return fmt.Errorf("%s.Transport holds a nil pointer, a %T; leave it nil for http.DefaultTransport", field, c.Transport)
	case c.Jar != nil && isNil(c.Jar):
		return fmt.Errorf("%s.Jar holds a nil pointer, a %T; leave it nil for no cookies", field, c.Jar)
	}
	return nil
}

// checkDuration finds times of a few nanoseconds: a number without a unit.
func checkDuration(field string, d time.Duration) error {
	if d > 0 && d < time.Millisecond {
		return fmt.Errorf("%s is %v, less than a millisecond; write a unit, like 20*time.Second", field, d)
	}
	return nil
}

var errRequestHeader = errors.New(`is a header that net/http does not take from where an Attacher puts it; name another, like "X-Auth-Token"`)

// checkHeader reports what is wrong with the header that a, in field, puts a token into.
func checkHeader(field string, a Attacher) error {
	if isNil(a) {
		return fmt.Errorf("%s holds a nil pointer, a %T; assign one that points to something", field, a)
	}
	h, own := a.(HeaderAttacher)
	if own && h == "" {
		return fmt.Errorf(`%s: HeaderAttacher("") names no header; write it like HeaderAttacher("X-Auth-Token")`, field)
	}
	name := a.HeaderName()
	if name != "" && !isHeaderName(name) {
		// The name is left out: who confuses the two puts the token here.
		return fmt.Errorf(`%s names what is not a header name (RFC 9110, section 5.1); write it like HeaderAttacher("X-Auth-Token")`, field)
	}
	if !own {
		return nil
	}
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return fmt.Errorf("%s: HeaderAttacher(%q) %w", field, name, errRequestHeader)
	}
	return nil
}

// checkAttacher reports what is wrong with an Attacher that is in field.
func checkAttacher(field string, a Attacher) error {
	if err := checkHeader(field, a); err != nil {
		return err
	}
	return checkPart(field, a)
}

// A member is one of the names in a JSON object that is sent or read, and the field
// where it is from.
type member struct{ field, name string }

// checkMembers reports which of list, the fields of a struct in field, cannot be: a
// name with nothing before or after a dot, and two that want the same place.
func checkMembers(field string, list ...member) error {
	for i, m := range list {
		if strings.Contains("."+m.name+".", "..") {
			return fmt.Errorf(`%s.%s is %q, which has nothing before or after a dot; write it like "data.token"`, field, m.field, m.name)
		}
		for _, other := range list[:i] {
			if strings.HasPrefix(m.name+".", other.name+".") || strings.HasPrefix(other.name+".", m.name+".") {
				shorter := m.name
				if len(other.name) < len(shorter) {
					shorter = other.name
				}
				return fmt.Errorf("%s.%s and %s clash at %q; give each a member of its own", field, other.field, m.field, shorter)
			}
		}
	}
	return nil
}
