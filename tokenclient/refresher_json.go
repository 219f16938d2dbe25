package tokenclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// A JSONRefresher refreshes tokens at an endpoint that takes and answers JSON, as
// many APIs have that do not speak OAuth: it posts {"refresh_token": "…"} and
// reads the new pair from the answer. Its fields must not be changed after its
// first use; it is safe for concurrent use.
type JSONRefresher struct {
	// URL is the endpoint, such as "https://api.example.com/token/refresh". It
	// must be https, or http to localhost or another loopback address. It is
	// required.
	URL string

	// SendAccessToken also sends the access token, expired or not, as a member
	// of the body. A token without a refresh token is refreshed by the access
	// token alone then.
	SendAccessToken bool

	// Attacher also puts the access token, expired or not, on the request, as
	// HeaderAttacher("X-Auth-Token") does, for endpoints that take the access
	// token itself: a heartbeat that answers a new one, for example. A token
	// without a refresh token is refreshed by the access token alone then, and
	// the body is an empty JSON object. Nil: it is not put there.
	Attacher Attacher

	// Request names the members of what is sent, AccessToken and RefreshToken;
	// its other fields are not used. Response names those of the answer. Within each,
	// no two may be the same member.
	Request, Response JSONFields

	// Terminal reports whether an answer without a token says that the refresh
	// token is dead, so that only a login helps. It gets the status and the body,
	// of which it must keep nothing. It is asked about every complete answer but
	// redirects that is not a success with a token in it, and nothing else
	// decides then.
	//
	// Nil: the answer is terminal if its error code is invalid_grant (or
	// bad_refresh_token, as GitHub says), unless its status is 408, 425, 429 or
	// 5xx; and if it is a 401, unless it is HTML, which a proxy may have sent, or
	// its error code is another one of RFC 6749 or RFC 9449, which are about
	// something else than the token.
	Terminal func(status int, body []byte) bool

	// HTTPClient makes the requests. It is copied: the copy follows no
	// redirects, because the body holds the refresh token. Nil: http.DefaultClient.
	// If it has no Transport, it gets connections of its own with HTTP/2 pings; a
	// Transport that the program gives should have them too. See "Connections" in
	// the package documentation.
	HTTPClient *http.Client

	// InsecureHTTP allows plain http to other machines, where everybody on the
	// way can read the tokens.
	InsecureHTTP bool
}

var (
	_ Refresher = (*JSONRefresher)(nil)
	_ validator = (*JSONRefresher)(nil)
)

// Validate reports what can never work, by the name of the field and with what to write
// there, without a secret. [New] asks it, also of a struct that embeds a JSONRefresher.
func (r *JSONRefresher) Validate() error {
	if r == nil { // embedded
		return invalid(r, errors.New("the *JSONRefresher is nil; make one with a URL"))
	}
	errs := []error{
		checkEndpoint("JSONRefresher.URL", r.URL, r.InsecureHTTP),
		r.Request.checkRequest("JSONRefresher.Request", r.SendAccessToken),
		r.Response.checkResponse("JSONRefresher.Response"),
		checkClient("JSONRefresher.HTTPClient", r.HTTPClient),
	}
	if r.Attacher != nil {
		errs = append(errs, r.checkAttacher())
	}
	return invalid(r, errs...)
}

func (r *JSONRefresher) checkAttacher() error {
	if h, ok := r.Attacher.(HeaderAttacher); ok {
		switch name := h.HeaderName(); name {
		case "Idempotency-Key", "X-Idempotency-Key":
			return fmt.Errorf("JSONRefresher.Attacher: HeaderAttacher(%q) is taken off each refresh, which net/http must not repeat; name another header", name)
		}
	}
	return checkAttacher("JSONRefresher.Attacher", r.Attacher)
}

// Refresh exchanges old's refresh token for a new pair. It reads the answer as
// [ParseToken] does. If the server sent no refresh token, the result has none
// either: the [Session] keeps the old one, and so should other callers.
//
// Every error is a [*TokenError]. It is ErrLoginRequired if the answer is terminal
// (see Terminal), and if old has nothing to send. It is ErrNotPresented if neither
// token was sent for certain. What the Attacher returns fails the refresh.
func (r *JSONRefresher) Refresh(ctx context.Context, old *Token) (*Token, error) {
	if old == nil {
		old = new(Token)
	}
	c := &endpoint.Call{
		Field: "JSONRefresher.URL", URL: r.URL, Client: r.HTTPClient, InsecureHTTP: r.InsecureHTTP,
		Encoding: endpoint.JSON,
		Secrets:  []string{old.RefreshToken, old.AccessToken},
	}
	if old.RefreshToken != "" {
		c.Params = append(c.Params, endpoint.Param{Name: cmp.Or(r.Request.RefreshToken, "refresh_token"), Value: old.RefreshToken})
	}
	if old.AccessToken != "" && r.SendAccessToken {
		c.Params = append(c.Params, endpoint.Param{Name: cmp.Or(r.Request.AccessToken, "access_token"), Value: old.AccessToken})
	}
	if r.Attacher != nil {
		if err := checkHeader("JSONRefresher.Attacher", r.Attacher); err != nil {
			return nil, callError(c.NotPresented(err))
		}
		if old.AccessToken != "" {
			c.Attach = func(req *http.Request) error { return r.Attacher.Attach(req, old) }
		}
	}
	if len(c.Params) == 0 && c.Attach == nil {
		return nil, noRefreshToken(r.URL)
	}
	terminal := endpoint.RefusesToken
	if r.Terminal != nil {
		terminal = func(a *endpoint.Answer) bool { return r.Terminal(a.Status, a.Body) }
	}
	return requestToken(ctx, c, &r.Response, terminal)
}

// Format writes the endpoint, whatever the verb: the query of the URL may hold a
// key.
func (r JSONRefresher) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.describe()) }

// MarshalJSON marshals what Format writes. It cannot be read back.
func (r JSONRefresher) MarshalJSON() ([]byte, error) { return json.Marshal(r.describe()) }

func (r *JSONRefresher) describe() string {
	return fmt.Sprintf("JSONRefresher{%s}", endpoint.Name(r.URL))
}

// A PasswordLogin exchanges a user name and a password for a token at an endpoint
// that takes and answers JSON: it posts {"username": "…", "password": "…"}. Its
// fields must not be changed after its first use; it is safe for concurrent use.
// Hand the token to [Session.SetToken], and forget the password.
type PasswordLogin struct {
	// URL is the endpoint, such as "https://api.example.com/login". It must be
	// https, or http to localhost or another loopback address. It is required.
	URL string

	// Username and Password name the members of what is sent: "username" and
	// "password" if empty. A dot goes into an object, as in [JSONFields].
	Username, Password string

	// Response names the members of the answer.
	Response JSONFields

	// HTTPClient makes the requests. It is copied: the copy follows no
	// redirects, because the body holds the password. Nil: http.DefaultClient. Its
	// connections are those of a JSONRefresher. It must not be a session's own
	// client, which has no token yet.
	HTTPClient *http.Client

	// InsecureHTTP allows plain http to other machines, where everybody on the
	// way can read the password and the tokens.
	InsecureHTTP bool
}

// Login logs in and returns the token, read as [ParseToken] does. It may be
// called by many goroutines at the same time. There is no timeout but ctx's and
// the HTTPClient's.
//
// Every error is a [*TokenError]. What is wrong with the fields of l is one that is
// ErrNotPresented: it names the field, and nothing was sent. A wrong password is one
// with the server's status, mostly 400, 401 or 403, and never ErrLoginRequired: that is
// about a session, and there is none yet. Neither the password nor anything of it is in
// an error.
func (l *PasswordLogin) Login(ctx context.Context, username, password string) (*Token, error) {
	c := &endpoint.Call{
		Field: "PasswordLogin.URL", URL: l.URL, Client: l.HTTPClient, InsecureHTTP: l.InsecureHTTP,
		Encoding: endpoint.JSON,
		Params: []endpoint.Param{
			{Name: cmp.Or(l.Username, "username"), Value: username, Public: true},
			{Name: cmp.Or(l.Password, "password"), Value: password},
		},
		Secrets: []string{password},
	}
	if err := l.check(); err != nil {
		return nil, callError(c.NotPresented(err))
	}
	return requestToken(ctx, c, &l.Response, func(*endpoint.Answer) bool { return false })
}

// check reports what can never work.
func (l *PasswordLogin) check() error {
	return cmp.Or(
		checkEndpoint("PasswordLogin.URL", l.URL, l.InsecureHTTP),
		checkMembers("PasswordLogin", member{"Username", cmp.Or(l.Username, "username")}, member{"Password", cmp.Or(l.Password, "password")}),
		l.Response.checkResponse("PasswordLogin.Response"),
		checkClient("PasswordLogin.HTTPClient", l.HTTPClient),
	)
}
