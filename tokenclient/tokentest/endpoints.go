package tokentest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// An answer is what a token endpoint says.
type answer struct {
	status    int
	challenge string // WWW-Authenticate; empty: none
	body      map[string]any

	granted *Granted // what it says, for a Dialect; one of the two, or nil
	refused *Refused
	reuse   bool // of a spent refresh token
}

// refusal is an error answer (RFC 6749, section 5.2).
func refusal(status int, code, description string) answer {
	return answer{
		status: status, body: map[string]any{"error": code, "error_description": description},
		refused: &Refused{status, code, description},
	}
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store") // RFC 6749, section 5.1
	if a.challenge != "" {
		w.Header().Set("WWW-Authenticate", a.challenge)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	writeJSON(w, a.status, a.body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// maxRequest bounds the body of a call to a token endpoint.
const maxRequest = 1 << 20

// serveLogin is POST /login.
func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	var in struct{ Username, Password string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in)
	s.countLogin()
	s.delay(r)
	if err != nil || in.Username == "" {
		s.say(w, refusal(http.StatusBadRequest, "invalid_request", "username or password missing"))
		return
	}
	s.say(w, s.login(in.Username, in.Password))
}

// serveJSONRefresh is POST /token/refresh. Members other than the refresh token,
// such as the old access token, are ignored.
func (s *Server) serveJSONRefresh(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in)
	s.notePresented(w, in.RefreshToken)
	s.refresh(w, r, func() answer {
		if err != nil || in.RefreshToken == "" {
			return refusal(http.StatusBadRequest, "invalid_request", "refresh_token missing")
		}
		return s.exchange(in.RefreshToken, http.StatusUnauthorized, thumbprintOf(r))
	})
}

// serveOAuthToken is POST /oauth/token.
func (s *Server) serveOAuthToken(w http.ResponseWriter, r *http.Request) {
	form, bad := s.readForm(w, r)
	d := s.dialect()
	token, ok := d.refreshToken(r, form)
	if !ok {
		s.delay(r)
		if grant := form.Get("grant_type"); d.RefreshToken != nil && bad == nil && (grant == "" || grant == "refresh_token") {
			bad = new(refusal(http.StatusBadRequest, "invalid_request", "not as Options.Dialect wants a refresh to be sent: another encoding, name or header"))
		}
		if bad == nil {
			bad = new(s.redeem(clientID(r, form), form, thumbprintOf(r)))
		}
		s.say(w, *bad)
		return
	}
	eventOf(w).Kind = "refresh"
	s.notePresented(w, token)
	s.refresh(w, r, func() answer {
		switch {
		case bad != nil:
			return *bad
		case token == "":
			return refusal(http.StatusBadRequest, "invalid_request", "refresh_token missing")
		default:
			return s.exchange(token, http.StatusBadRequest, thumbprintOf(r))
		}
	})
}

// serveOAuthRevoke is POST /oauth/revoke.
func (s *Server) serveOAuthRevoke(w http.ResponseWriter, r *http.Request) {
	form, bad := s.readForm(w, r)
	s.mu.Lock()
	s.counters.Revocations++
	s.mu.Unlock()
	s.delay(r)
	token := form.Get("token")
	s.notePresented(w, token)
	switch {
	case bad != nil:
		s.say(w, *bad)
	case token == "":
		s.say(w, refusal(http.StatusBadRequest, "invalid_request", "token missing"))
	default:
		s.revoke(token)
		answer{status: http.StatusOK}.write(w) // unknown tokens too: RFC 7009, section 2.2
	}
}

// serveHeartbeat is POST /heartbeat.
func (s *Server) serveHeartbeat(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	token := s.accessTokenLocked(r)
	s.mu.Unlock()
	s.notePresented(w, token)
	s.renew(w, r, &s.counters.Heartbeats, func() answer { return s.prolong(r) })
}

// refresh is what both protocols have in common once it is known that a call
// asks for a refresh: commit makes it take effect.
func (s *Server) refresh(w http.ResponseWriter, r *http.Request, commit func() answer) {
	s.renew(w, r, &s.counters.Refreshes, commit)
}

// renew counts a call that asks for a token and lets it take effect by commit,
// unless it is to fail.
func (s *Server) renew(w http.ResponseWriter, r *http.Request, count *int, commit func() answer) {
	s.mu.Lock()
	*count++
	fault := s.refreshFaults.take()
	s.mu.Unlock()
	eventOf(w).Fault = fault != nil
	s.delay(r)
	if fault != nil && !fault.AfterCommit {
		fault.serve(w)
		return
	}
	a := commit()
	if fault != nil {
		s.noteAnswer(w, a) // it took effect
		fault.serve(w)
		return
	}
	s.say(w, a)
}

// delay waits for Options.Latency. It does not return if the client leaves, or
// the server is closed, in the meantime.
func (s *Server) delay(r *http.Request) {
	s.mu.Lock()
	latency := s.options.Latency
	s.mu.Unlock()
	if latency <= 0 {
		return
	}
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// readForm returns the form of a call by an OAuth client, and what to answer if
// it cannot be understood or the client did not prove who it is. Parameters in
// the URL do not count (RFC 6749, section 2.3.1).
func (s *Server) readForm(w http.ResponseWriter, r *http.Request) (url.Values, *answer) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := r.ParseForm(); err != nil {
		return r.PostForm, new(refusal(http.StatusBadRequest, "invalid_request", "malformed form"))
	}
	if s.dialect().RefreshToken != nil {
		if err := readJSON(r); err != nil {
			return r.PostForm, new(refusal(http.StatusBadRequest, "invalid_request", "malformed JSON"))
		}
	}
	form := r.PostForm
	for name, values := range form {
		if len(values) > 1 { // RFC 6749, section 3.2
			return form, new(refusal(http.StatusBadRequest, "invalid_request", name+" is given twice"))
		}
	}
	_, secret, basic := r.BasicAuth()
	if basic && form.Has("client_secret") { // RFC 6749, section 2.3
		return form, new(refusal(http.StatusBadRequest, "invalid_request", "two kinds of client authentication"))
	}
	if basic {
		secret, _ = url.QueryUnescape(secret) // RFC 6749, section 2.3.1
	} else {
		secret = form.Get("client_secret")
	}
	s.mu.Lock()
	want := s.options.ClientSecret
	s.mu.Unlock()
	if want != "" && secret != want {
		a := refusal(http.StatusUnauthorized, "invalid_client", "wrong or missing client secret")
		a.challenge = `Basic realm="tokentest"`
		return form, &a
	}
	return form, nil
}
