// Package check finds what can never work in what a program configures: a nil pointer in an
// interface, an endpoint that is no URL, a time without a unit, two names for one place.
//
// A mistake is told when a session is made, and not by its first refresh, which may be an hour
// later and in somebody else's hands. Each error begins with the field and ends with what to
// write there. None shows a secret: no URL, no value of a param, nothing of a client's secret.
//
// Nothing here asks the network, and all of it is quick.
package check

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

// Validator is what a part of a configuration may be besides: it is asked whether it can work
// at all.
type Validator interface{ Validate() error }

// Part reports what is wrong with v, which is in field: that it is a nil pointer, or what it
// says itself.
func Part(field string, v any) error {
	if Nil(v) {
		return fmt.Errorf("%s holds a nil pointer, a %T; assign one that points to something", field, v)
	}
	part, ok := v.(Validator)
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

// invalidError is what a part of ours says of itself.
type invalidError struct {
	part any
	err  error
}

func (e *invalidError) Error() string { return e.err.Error() }
func (e *invalidError) Unwrap() error { return e.err }

// Invalid returns the first of errs as what is wrong with part; nil if there is none.
func Invalid(part any, errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return &invalidError{part, err}
		}
	}
	return nil
}

// Nil finds nil pointers in interfaces, which would panic at the first refresh.
func Nil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map:
		return r.IsNil()
	}
	return false
}

// Endpoint reports what is wrong with the URL of an endpoint.
func Endpoint(field, rawURL string, insecureHTTP bool) error {
	return (&endpoint.Call{Field: field, URL: rawURL, InsecureHTTP: insecureHTTP}).Check()
}

// Client reports what is wrong with an HTTPClient, which may be nil.
func Client(field string, c *http.Client) error {
	switch {
	case c == nil:
	case c.Transport != nil && Nil(c.Transport):
		return fmt.Errorf("%s.Transport holds a nil pointer, a %T; leave it nil for http.DefaultTransport", field, c.Transport)
	case c.Jar != nil && Nil(c.Jar):
		return fmt.Errorf("%s.Jar holds a nil pointer, a %T; leave it nil for no cookies", field, c.Jar)
	}
	return nil
}

// Duration finds times of a few nanoseconds: a number without a unit.
func Duration(field string, d time.Duration) error {
	if d > 0 && d < time.Millisecond {
		return fmt.Errorf("%s is %v, less than a millisecond; write a unit, like 20*time.Second", field, d)
	}
	return nil
}

// A Member is a field, and the name in a JSON object that it says.
type Member [2]string

// Members reports which of list, the fields of a struct in field, cannot be: a name with
// nothing before or after a dot, and two that want the same place.
func Members(field string, list ...Member) error {
	for i, m := range list {
		own, name := m[0], m[1]
		if strings.Contains("."+name+".", "..") {
			return fmt.Errorf(`%s.%s is %q, which has nothing before or after a dot; write it like "data.token"`, field, own, name)
		}
		for _, other := range list[:i] {
			if strings.HasPrefix(name+".", other[1]+".") || strings.HasPrefix(other[1]+".", name+".") {
				shorter := name
				if len(other[1]) < len(shorter) {
					shorter = other[1]
				}
				return fmt.Errorf("%s.%s and %s clash at %q; give each a member of its own", field, other[0], own, shorter)
			}
		}
	}
	return nil
}
