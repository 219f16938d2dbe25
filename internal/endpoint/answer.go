package endpoint

import (
	"net/http"
	"time"
)

// An Answer is a complete answer that is not a redirect.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte    // without gzip; one byte over 1 MiB if it was longer than that
	Sent   time.Time // when the request began

	call  *Call
	shown *http.Response // what Call.Answered was told; nil: it was not
	again bool           // it said that the proof is refused, and nothing else
}

// OK reports whether the answer is a success.
func (a *Answer) OK() bool { return a.Status < 300 }

// Clock returns what the answer tells of its time.
func (a *Answer) Clock() Clock { return ClockOf(a.Sent, a.Header) }

// Code returns the error code of the answer as the server wrote it: the one that decides
// what the answer means, or the first there is. It may hold a secret.
func (a *Answer) Code() string {
	p := a.problem()
	if _, code := p.meaning(a.tokenAlone()); code != "" {
		return code
	}
	return p.code()
}
