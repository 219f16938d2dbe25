package endpoint

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

// maxRetryAfter is what a server may ask for.
const maxRetryAfter = 10 * time.Minute

// A Failure is what there is to say of a call that did not bring what was wanted. It is no
// error: the caller makes one of it.
type Failure struct {
	// Endpoint is the host and path that was asked.
	Endpoint string

	// Status is that of the answer, 0 if there was no complete one.
	Status int

	// Code and Description are the error code and its description in the answer, fit to
	// be shown.
	Code, Description string

	// RetryAfter is how long the server asked to wait, 0 if it did not.
	RetryAfter time.Duration

	// Cause is an error that holds no secret, or nil if the answer is the cause. What came
	// from outside, such as from a transport, is in its chain.
	Cause error

	// NotPresented says that nothing was sent, for certain.
	NotPresented bool
}

// NotPresented returns the failure of a call that ended before anything was sent.
func (c *Call) NotPresented(cause error) *Failure {
	f := c.failure(0, cause)
	f.NotPresented = true
	return f
}

func (c *Call) failure(status int, cause error) *Failure {
	return &Failure{Endpoint: Name(c.URL), Status: status, Cause: cause}
}

// Failure returns the failure of a call whose answer is not what was wanted. cause is why,
// nil if that is for the answer itself to say.
func (a *Answer) Failure(cause error) *Failure {
	f := a.call.failure(a.Status, cause)
	p := a.problem()
	f.Code, f.Description = a.call.show(rfcCode(a.Code()), maxCode), a.call.show(p.description(), maxDescription)
	f.RetryAfter = retryAfter(a.Header)
	if f.Cause == nil && isHTML(a.Body) {
		f.Cause = errHTML
	}
	return f
}

// redirected is the failure for an answer that is none. Only the host of the Location
// is named: the rest is for the server's own use.
func (a *Answer) redirected() *Failure {
	if a.Status < 200 {
		return a.Failure(errors.New("the answer is not HTTP any more"))
	}
	to := "redirected"
	if u, err := url.Parse(a.Header.Get("Location")); err == nil && u.Host != "" && !a.call.leaks(u.Host) {
		to += " to " + redact.Clean(u.Host, maxDescription)
	}
	return a.Failure(errors.New(to + "; refusing to follow: the body holds a credential"))
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
