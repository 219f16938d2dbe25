package tokentest

import (
	"cmp"
	"io"
	"maps"
	"net/http"
)

// A Fault is what a call gets in place of its answer. The zero Fault is a 500
// with an empty body, before the call took effect.
//
// At the token endpoint a cut, a 5xx, and a success that cannot be read leave open
// whether the refresh token was spent. After the first cut or 5xx a
// [tokenclient.Session] makes the call a second time at once, unless the answer is a
// 5xx with a Retry-After in Header; see [Server.FailRefresh] for what that means to a
// test. After a 4xx, and after a success that cannot be read, there is no second call.
type Fault struct {
	// Status is the answer's status, from 200 to 999. Zero: 500.
	Status int

	// Header is added to the answer: "Retry-After", or "Location" for a
	// redirect. Without a Content-Type net/http guesses one from Body.
	Header http.Header

	// Body is the answer's body as it is: a proxy's page, JSON that is cut
	// short, ten megabytes.
	Body string

	// Cut closes the connection in place of an answer. If there is a Body the
	// answer begins as usual and breaks off after it.
	Cut bool

	// AfterCommit lets the call take effect first: a refresh spends its token
	// and issues a pair that nobody receives; the API reads the whole request.
	AfterCommit bool
}

// FailRefresh makes the next n calls of /token/refresh, of /heartbeat, and of
// /oauth/token that ask for a refresh fail with f, in the order in which they arrive.
// Further calls of FailRefresh add to the list. A negative n means all calls from then
// on; a zero n empties the list. f.Header must not be changed afterwards.
//
// It counts calls, not refreshes. A [tokenclient.Session] whose last refresh went well
// makes a second call at once if the answer to the first got lost, so one such fault
// goes by unseen: FailRefresh(1, Fault{Status: 503}) costs a call and nothing else. For a
// failure that the program sees, let all calls fail until told otherwise:
//
//	srv.FailRefresh(-1, tokentest.Fault{Status: 503})
//	// ... the program cannot refresh ...
//	srv.FailRefresh(0, tokentest.Fault{})
//
// or one call, with an answer after which there is no second one, such as a 429, a 200
// without a token, or
//
//	srv.FailRefresh(1, tokentest.Fault{Status: 503, Header: http.Header{"Retry-After": {"1"}}})
//
// After either the session waits before it refreshes again, as long as Retry-After
// says at least; only [tokenclient.Session.Refresh] does not. With Fault.AfterCommit
// the second call presents a spent refresh token, which ends the login unless
// Options.ReuseGrace allows it.
func (s *Server) FailRefresh(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshFaults.add(n, f)
}

// FailAPI is [Server.FailRefresh] for requests to /api/. Such a request needs no
// token. A 401 to a token that a [tokenclient.Session] got from a refresh less than 5
// seconds ago, and that was not accepted yet, has it try the same token again before it
// refreshes; see [tokenclient.Transport]. A GET that finds its connection cut takes two faults, because net/http
// sends it again by itself if the connection was used before.
func (s *Server) FailAPI(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apiFaults.add(n, f)
}

// A faultQueue holds the faults to come, first in, first out.
type faultQueue []plannedFault

type plannedFault struct {
	left int // negative: for ever
	Fault
}

func (q *faultQueue) add(n int, f Fault) {
	if n == 0 {
		*q = nil
		return
	}
	*q = append(*q, plannedFault{n, f})
}

// take returns the next call's fault, nil if it has none.
func (q *faultQueue) take() *Fault {
	if len(*q) == 0 {
		return nil
	}
	head := &(*q)[0]
	f := head.Fault
	if head.left--; head.left == 0 {
		*q = (*q)[1:]
	}
	return &f
}

func (f *Fault) status() int { return cmp.Or(f.Status, http.StatusInternalServerError) }

// serve answers with f. It does not return if f cuts the connection.
func (f *Fault) serve(w http.ResponseWriter) {
	if !f.Cut || f.Body != "" {
		maps.Copy(w.Header(), f.Header)
		w.WriteHeader(f.status())
		_, _ = io.WriteString(w, f.Body) // the client may have had enough
	}
	if f.Cut {
		if f.Body != "" {
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}
