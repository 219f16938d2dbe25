package tokentest

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Dialect is how a server reads and words what the standards say in another way. What it
// does stays the same: tokens rotate, are spent and revoked as ever. The functions are called
// by many goroutines at the same time. The zero Dialect is RFC 6749 and RFC 6750.
//
// Package dialect has those of well-known servers.
type Dialect struct {
	// RefreshToken finds the refresh token in a call of /oauth/token. sent is its form, or its
	// JSON object with dotted names for what is inside of others. ok is false if the call
	// is none that this server takes. Nil: the form of RFC 6749, section 6.
	RefreshToken func(r *http.Request, sent url.Values) (token string, ok bool)

	// Scheme is the scheme in Authorization that the API wants (RFC 9110, section 11.1).
	// Empty: Bearer.
	Scheme string

	// Granted words the answer of a token endpoint that brings a token. Nil: RFC 6749,
	// section 5.1.
	Granted func(Granted) Reply

	// Refused words a refusal of a token endpoint. Nil: RFC 6749, section 5.2.
	Refused func(Refused) Reply

	// Rejected words the API's refusal of an access token. Nil: RFC 6750, section 3.
	Rejected func(Refused) Reply
}

// Granted is what a token endpoint has to say.
type Granted struct {
	AccessToken  string
	RefreshToken string // empty: the client keeps the one that it has
	User         string

	Issued          time.Time     // by the server's clock
	Lifetime        time.Duration // of the access token; zero: the server does not say
	RefreshLifetime time.Duration // lifetime of the refresh token; zero: the server does not say
}

// Refused is why the server refuses something.
type Refused struct {
	StatusCode  int    // that of the standards
	Code        string // such as "invalid_grant" or "invalid_token"
	Description string
}

// Reply is what goes over the wire.
type Reply struct {
	StatusCode int // zero: 200
	Header     http.Header
	Body       string
}

// JSON returns a reply with v as JSON, which must be something that can be marshalled.
func JSON(statusCode int, v any) Reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic("tokentest: " + err.Error())
	}
	return Reply{statusCode, http.Header{"Content-Type": {"application/json"}}, string(body)}
}

// Form returns a reply with values as a form.
func Form(statusCode int, values url.Values) Reply {
	return Reply{statusCode, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, values.Encode()}
}

func (r Reply) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.Header)
	if r.StatusCode != 0 {
		w.WriteHeader(r.StatusCode)
	}
	_, _ = io.WriteString(w, r.Body) // the client may be gone
}

// say writes a as the server's dialect words it.
func (s *Server) say(w http.ResponseWriter, a answer) {
	s.noteAnswer(w, a)
	d := s.dialect()
	switch {
	case a.granted != nil && d.Granted != nil:
		d.Granted(*a.granted).write(w)
	case a.refused != nil && d.Refused != nil:
		d.Refused(*a.refused).write(w)
	default:
		a.write(w)
	}
}

func (s *Server) dialect() Dialect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options.Dialect
}

// readJSON adds the members of a JSON object to r.PostForm, if r has one.
func readJSON(r *http.Request) error {
	if mt, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mt != "application/json" {
		return nil
	}
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return err
	}
	r.PostForm = make(url.Values)
	addMembers(r.PostForm, "", object)
	return nil
}

func addMembers(form url.Values, prefix string, object map[string]any) {
	for name, v := range object {
		switch v := v.(type) {
		case string:
			form.Add(prefix+name, v)
		case map[string]any:
			addMembers(form, prefix+name+".", v)
		}
	}
}

// refreshToken returns what a call asks to refresh, by the server's dialect. ok is false if it
// asks for something else.
func (d *Dialect) refreshToken(r *http.Request, form url.Values) (token string, ok bool) {
	if grant := form.Get("grant_type"); d.RefreshToken == nil || grant != "" && grant != "refresh_token" && !strings.HasPrefix(grant, "refresh") {
		return form.Get("refresh_token"), grant == "refresh_token"
	}
	return d.RefreshToken(r, form)
}
