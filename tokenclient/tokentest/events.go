package tokentest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Event is a request that the server has answered, or a call of one of its methods that
// made or ended tokens. It has no token in it: a [TokenName] says which one was meant.
type Event struct {
	// Number counts what began at the server, from 1. Events come when they end, so their
	// numbers may come out of order.
	Number uint64

	// Kind is what was asked for. Of requests it is "login", "refresh", "heartbeat",
	// "revocation", "request" for those to the API, and "other"; of methods it is "issue",
	// "expire", "revoke access" and "revoke all".
	Kind string

	// Began and Ended are by the local clock.
	Began, Ended time.Time

	// Client is the User-Agent. It, Method and Path are cut to 100 bytes. They and the
	// members after Status are empty for methods, where they make no sense.
	Client, Method, Path string

	// Status is that of the answer. Zero: there was none, because the connection was cut or
	// the client had left.
	Status int

	// Reason is why something was refused, in words for a person. Empty: nothing was.
	Reason string

	// Repeats is the Number of the last request to the API with the same X-Request-Id, of
	// which this one is a replay. Zero: there was none.
	Repeats uint64

	// User is whose tokens these are. Empty: unknown, or everybody.
	User string

	// Presented is the token that came with the request, and Access and Refresh are what was
	// issued, if something was.
	Presented, Access, Refresh TokenName

	// Reuse says that a spent refresh token was presented, and its family revoked for that.
	Reuse bool

	// Fault says that a [Fault] decided the answer.
	Fault bool
}

// A TokenName names a token without telling it. The zero TokenName is of none.
type TokenName struct {
	// Fingerprint is the beginning of the token's SHA-256, in hexadecimal.
	Fingerprint string

	// Login is the like for the family that the token belongs to. Empty: the server did not
	// issue it.
	Login string

	// Generation counts what the family got, from 1 at the login: a pair, or an access token
	// by itself. Zero: the server did not issue the token.
	Generation int
}

// fingerprint names a secret. Tokens have some 128 random bits, so none can be found by it.
func fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:4])
}

// Observe has f called with each [Event] from now on, until stop is called. It is called on
// the goroutine of the request, or of the method, by many at the same time, while no lock is
// held, and mostly before the client has the whole answer. It must return soon: the client
// waits for it. After stop has returned it may still be called for requests that are
// running.
//
// What [Server.Handle] serves makes no events.
func (s *Server) Observe(f func(Event)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &observer{f}
	s.observers = append(slices.Clone(s.observers), o)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.observers = slices.DeleteFunc(slices.Clone(s.observers), func(other *observer) bool { return other == o })
	}
}

type observer struct{ f func(Event) }

// Handle has h serve a pattern of [http.ServeMux] in place of what the server has there; none
// may be "/". Counters do not show these requests, and their contexts end when the server is
// closed. It panics where ServeMux.Handle does: a pattern that is taken is a mistake.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// tell tells the observers.
func (s *Server) tell(e Event) {
	s.mu.Lock()
	observers := s.observers // is never changed, only replaced
	s.mu.Unlock()
	if len(observers) == 0 {
		return
	}
	if e.Number == 0 {
		e.Number = s.numbers.Add(1)
		e.Began = time.Now()
	}
	e.Ended = time.Now()
	for _, o := range observers {
		o.f(e)
	}
}

// A recorder is the http.ResponseWriter of a request that somebody observes. Its Event is
// that of the goroutine that serves it.
type recorder struct {
	http.ResponseWriter
	Event
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.Status == 0 && status >= http.StatusOK { // net/http takes the first one
		r.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// eventOf returns the Event of the request that w answers; one that nobody sees if nobody
// observes.
func eventOf(w http.ResponseWriter) *Event {
	if r, ok := w.(*recorder); ok {
		return &r.Event
	}
	return new(Event)
}

// observed has next serve what is told to the observers.
func (s *Server) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		observed := len(s.observers) > 0
		s.mu.Unlock()
		if !observed {
			next.ServeHTTP(w, r)
			return
		}
		rec := &recorder{w, Event{
			Number: s.numbers.Add(1), Kind: kindOf(r), Began: time.Now(),
			Client: r.UserAgent(), Method: r.Method, Path: r.URL.Path,
		}}
		ended := false
		defer func() {
			if !ended {
				rec.cut(r)
			}
			s.tell(rec.said())
		}()
		next.ServeHTTP(rec, r)
		if rec.Status == 0 {
			rec.Status = http.StatusOK
		}
		ended = true
	})
}

// cut is for a handler that ended the connection.
func (r *recorder) cut(req *http.Request) {
	r.Status = 0
	if r.Reason == "" {
		r.Reason = "the connection was cut"
		if req.Context().Err() != nil {
			r.Reason = "the client left, or the server was closed"
		}
	}
}

// said is the Event with what the client said in it cut short.
func (r *recorder) said() Event {
	e := r.Event
	for _, text := range []*string{&e.Client, &e.Method, &e.Path} {
		*text = strings.ToValidUTF8((*text)[:min(len(*text), 100)], "?")
	}
	return e
}

// kindOf is Event.Kind, as far as the path says it.
func kindOf(r *http.Request) string {
	switch path := r.URL.Path; {
	case path == "/login", path == "/device", path == "/oauth/token", path == "/oauth/authorize", path == "/oauth/device":
		return "login"
	case path == "/token/refresh":
		return "refresh"
	case path == "/oauth/revoke":
		return "revocation"
	case path == "/heartbeat":
		return "heartbeat"
	case strings.HasPrefix(path, "/api/"):
		return "request"
	}
	return "other"
}

// notePresented notes the token that came with a request.
func (s *Server) notePresented(w http.ResponseWriter, token string) {
	r, ok := w.(*recorder)
	if !ok || token == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Presented = s.nameLocked(token)
	if g := s.findLocked(token); g != nil {
		r.User = g.family.user
	}
	// A client may have put it elsewhere too.
	r.Client = strings.ReplaceAll(r.Client, token, r.Presented.Fingerprint)
	r.Path = strings.ReplaceAll(r.Path, token, r.Presented.Fingerprint)
}

// noteAnswer notes what a token endpoint says.
func (s *Server) noteAnswer(w http.ResponseWriter, a answer) {
	r, ok := w.(*recorder)
	if !ok {
		return
	}
	if a.refused != nil {
		r.Reason = a.refused.Description
		r.Reuse = a.reuse
	}
	if a.granted != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		r.Access, r.Refresh = s.nameLocked(a.granted.AccessToken), s.nameLocked(a.granted.RefreshToken)
		r.User = a.granted.User
	}
}

// noteVerdict notes what the API makes of a request.
func (s *Server) noteVerdict(w http.ResponseWriter, v apiVerdict) {
	r, ok := w.(*recorder)
	if !ok {
		return
	}
	s.notePresented(w, v.token)
	r.Repeats = v.repeats
	r.Fault = v.fault != nil
	r.Reason = v.refused
	if v.demanded != 0 {
		_, wants, _ := strings.Cut(v.demand, " ") // without the scheme
		r.Reason = "the API demands more than a good token: " + wants
	}
	if v.renewed != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		r.Access = s.nameLocked(v.renewed)
	}
}

// nameLocked names a token.
func (s *Server) nameLocked(text string) TokenName {
	if text == "" {
		return TokenName{}
	}
	n := TokenName{Fingerprint: fingerprint(text)}
	if g := s.findLocked(text); g != nil {
		n.Login, n.Generation = fingerprint(g.family.id), g.generation
	}
	return n
}
