package sessiontest

import (
	"io"
	"net/http"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// RoundTrip is a function as an http.RoundTripper.
type RoundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f RoundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Reply answers req with status and nothing else.
func Reply(req *http.Request, status int) *http.Response {
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader("")),
	}
}

// AlwaysOK is an API that answers 200 to every request.
var AlwaysOK RoundTrip = func(req *http.Request) (*http.Response, error) { return Reply(req, http.StatusOK), nil }

// AttacherFunc is an Attacher that sets whatever it likes.
type AttacherFunc func(*http.Request, *tokenclient.Token) error

// HeaderName implements tokenclient.Attacher.
func (AttacherFunc) HeaderName() string { return "" }

// Attach implements tokenclient.Attacher.
func (f AttacherFunc) Attach(req *http.Request, t *tokenclient.Token) error { return f(req, t) }
