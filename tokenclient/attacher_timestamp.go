package tokenclient

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A TimestampAttacher is an [Attacher] that puts the client's time into a header
// of each request, beside the token:
//
//	TimestampAttacher{Next: HeaderAttacher("X-Auth-Token"), Header: "X-Timestamp"}
//
// The time is that of the local clock when the request is sent; a replay gets one
// of its own.
type TimestampAttacher struct {
	// Next puts the token on the request. Nil: "Authorization: Bearer" (RFC
	// 6750, section 2.1).
	Next Attacher

	// Header is the name of the header that gets the time. It is required, and
	// must not be the one that Next sets. If the caller set it, that is
	// overwritten.
	Header string

	// Value writes the time. It must be safe for concurrent use. Nil: Unix
	// milliseconds, in decimal.
	Value func(time.Time) string
}

var _ Attacher = TimestampAttacher{}

// HeaderName returns the header that the token goes into: Next's.
func (a TimestampAttacher) HeaderName() string { return a.next().HeaderName() }

// Attach has Next put t on req and adds the time.
func (a TimestampAttacher) Attach(req *http.Request, t *Token) error {
	if a.Header == "" {
		return errors.New("tokenclient: TimestampAttacher.Header is empty")
	}
	if err := a.next().Attach(req, t); err != nil {
		return err
	}
	now, value := time.Now(), ""
	if a.Value != nil {
		value = a.Value(now)
	} else {
		value = strconv.FormatInt(now.UnixMilli(), 10)
	}
	req.Header.Set(a.Header, value)
	return nil
}

func (a TimestampAttacher) next() Attacher {
	if a.Next == nil {
		return Bearer{}
	}
	return a.Next
}

// check reports what is wrong with a, which is in field.
func (a TimestampAttacher) check(field string) error {
	field += ": TimestampAttacher"
	switch {
	case a.Header == "":
		return fmt.Errorf("tokenclient: %s.Header is empty; name the header that gets the time", field)
	case !isHeaderName(a.Header):
		return fmt.Errorf("tokenclient: %s.Header: %q is not a header name", field, a.Header)
	}
	if err := checkAttacher(field+".Next", a.next()); err != nil {
		return err
	}
	if name := a.HeaderName(); http.CanonicalHeaderKey(name) == http.CanonicalHeaderKey(a.Header) {
		return fmt.Errorf("tokenclient: %s.Header is %q, which is the header of the token", field, a.Header)
	}
	return nil
}
