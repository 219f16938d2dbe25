package tokentest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// serveAPI is everything under /api/.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	v := s.judgeAPI(r, eventOf(w).Number)
	s.noteVerdict(w, v)
	for _, hold := range v.holds {
		select {
		case <-hold:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case v.fault != nil:
		if v.fault.AfterCommit {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		v.fault.serve(w)
	case v.refused != "":
		s.refuse(w, v)
	case v.demanded != 0:
		answer{status: v.demanded, challenge: v.demand}.write(w)
	default:
		if v.renewed != "" {
			w.Header().Set(v.header, v.renewed)
		}
		echo(w, r, v.user)
	}
}

// An apiVerdict is what the server makes of a request to the API when it arrives.
type apiVerdict struct {
	fault     *Fault          // to be served in any case; nil: none
	refused   string          // why the token is not accepted; "": it is
	token     string          // that came, "": none
	repeats   uint64          // Event.Repeats
	anonymous bool            // there is no token
	demanded  int             // status of an answer that demands more than the token; 0: none does
	demand    string          // its challenge
	user      string          // whose token it is
	renewed   string          // the token for the answer's header
	header    string          // where tokens are
	scheme    string          // of its challenges
	holds     []chan struct{} // what the answer waits for
}

// judgeAPI judges a request and counts it. number is that of its Event.
func (s *Server) judgeAPI(r *http.Request, number uint64) apiVerdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters.Requests++
	var repeats uint64
	if id := r.Header.Get("X-Request-Id"); id != "" {
		var again bool
		if repeats, again = s.requestIDs[id]; again {
			s.counters.Replays++
		}
		s.requestIDs[id] = number
	}
	token := s.accessTokenLocked(r)
	v := apiVerdict{
		fault:     s.apiFaults.take(),
		token:     token,
		repeats:   repeats,
		anonymous: token == "",
		header:    cmp.Or(s.options.Header, "Authorization"),
		holds:     slices.Clone(s.holds),
		scheme:    "Bearer",
	}
	if s.options.DPoP != nil {
		v.scheme = "DPoP"
	}
	switch {
	case v.fault != nil:
		if !v.fault.Cut && v.fault.status() == http.StatusUnauthorized {
			s.counters.Unauthorized++
		}
		return v
	case v.anonymous:
		v.refused = "no access token"
	default:
		var f *family
		if f, v.refused = s.judgeLocked(token); f != nil {
			v.user = f.user
		}
		if f != nil && s.options.DPoP != nil && f.jkt != thumbprintOf(r) {
			f, v.refused = nil, "the access token is bound to another key, or to none"
		}
		if f != nil {
			v.demanded, v.demand = s.demandLocked(f, r.URL.Path, v.scheme)
		}
		switch {
		case v.demanded != 0:
			s.counters.Demands++
		case f != nil && s.options.SlidingHeader:
			f.issued++
			v.renewed = s.mintLocked(f, false)
			s.counters.Renewals++
		}
	}
	if v.refused != "" || v.demanded == http.StatusUnauthorized {
		s.counters.Unauthorized++
	}
	return v
}

// refuse answers a request whose token is not accepted.
func (s *Server) refuse(w http.ResponseWriter, v apiVerdict) {
	a := refusal(http.StatusUnauthorized, "invalid_token", v.refused)
	if rejected := s.dialect().Rejected; rejected != nil {
		rejected(*a.refused).write(w)
		return
	}
	a.challenge = fmt.Sprintf("%s error=%q, error_description=%q", v.scheme, "invalid_token", v.refused)
	if v.anonymous { // no error code then: RFC 6750, section 3.1
		a.challenge = v.scheme + ` realm="tokentest"`
	}
	a.write(w)
}

// accessTokenLocked returns the access token of a request, "" if there is none.
func (s *Server) accessTokenLocked(r *http.Request) string {
	if s.options.Header != "" {
		return r.Header.Get(s.options.Header)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want := cmp.Or(s.options.Dialect.Scheme, "Bearer")
	if s.options.DPoP != nil {
		want = "DPoP"
	}
	if !strings.EqualFold(scheme, want) {
		return ""
	}
	return strings.TrimSpace(token)
}

// echo reads a request and tells the client what it read.
func echo(w http.ResponseWriter, r *http.Request, user string) {
	var kept bytes.Buffer
	sum := sha256.New()
	to := io.Writer(sum)
	back := r.URL.Query().Get("echo") == "1"
	if back {
		to = &kept
	}
	length, err := io.Copy(to, r.Body)
	switch {
	case err != nil:
		refusal(http.StatusBadRequest, "invalid_request", "the body broke off").write(w)
	case back:
		if t := r.Header.Get("Content-Type"); t != "" {
			w.Header().Set("Content-Type", t)
		}
		_, _ = kept.WriteTo(w)
	default:
		writeJSON(w, http.StatusOK, map[string]any{
			"method": r.Method, "path": r.URL.Path, "subject": user,
			"length": length, "sha256": hex.EncodeToString(sum.Sum(nil)),
		})
	}
}

// Hold keeps back the answers of the API from now on, until release is called.
// Whether the token is accepted is decided before, so that a 401 can come late:
// hold, send the request, revoke or refresh, release. The request's body is read
// after. An answer waits for every Hold that was in place when its request
// arrived, and for no later one. release may be called more than once, by any
// goroutine; Close cuts what still waits.
func (s *Server) Hold() (release func()) {
	hold := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = append(s.holds, hold)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holds = slices.DeleteFunc(s.holds, func(c chan struct{}) bool { return c == hold })
		close(hold)
	})
}
