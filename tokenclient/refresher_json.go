package tokenclient

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// A JSONRefresher refreshes tokens at an endpoint that takes and answers JSON, as many APIs
// have that do not speak OAuth: it posts {"refresh_token": "…"} and reads the new pair from
// the answer. It has the fields of an [OAuth2Refresher], and other defaults:
//
//   - Encoding: JSONEncoding.
//   - ClientAuth may be nil. Then nothing but the token is shown to the endpoint, and a 401
//     is about the token.
//   - No grant_type is sent, unless a Grant or Params does.
//
// Its fields must not be changed after its first use; it is safe for concurrent use.
type JSONRefresher OAuth2Refresher

var (
	_ Refresher       = (*JSONRefresher)(nil)
	_ Revoker         = (*JSONRefresher)(nil)
	_ check.Validator = (*JSONRefresher)(nil)
	_ canRefresher    = (*JSONRefresher)(nil)
	_ endpointer      = (*JSONRefresher)(nil)
)

func (r *JSONRefresher) exchange() *exchange {
	return &exchange{kind: "JSONRefresher", parts: (*OAuth2Refresher)(r), encoding: JSONEncoding}
}

// Validate is as [OAuth2Refresher.Validate].
func (r *JSONRefresher) Validate() error { return check.Invalid(r, r.exchange().validate()) }

// CanRefresh is as [OAuth2Refresher.CanRefresh].
func (r *JSONRefresher) CanRefresh(t *Token) bool { return r.exchange().can(t) }

// Endpoints is as [OAuth2Refresher.Endpoints].
func (r *JSONRefresher) Endpoints() []string { return r.exchange().endpoints() }

// Refresh is as [OAuth2Refresher.Refresh].
func (r *JSONRefresher) Refresh(ctx context.Context, old *Token) (*Token, error) {
	return r.exchange().refresh(ctx, old)
}

// Login is as [OAuth2Refresher.Login]. For a user name and a password there is
// [PasswordLogin].
func (r *JSONRefresher) Login(ctx context.Context, params url.Values) (*Token, error) {
	return r.exchange().login(ctx, params)
}

// Revoke is as [OAuth2Refresher.Revoke]. It writes JSON, unless Encoding says otherwise.
func (r *JSONRefresher) Revoke(ctx context.Context, t *Token) error {
	return r.exchange().revoke(ctx, t)
}

// Format writes the endpoint, whatever the verb: the query of the URL may hold a
// key.
func (r JSONRefresher) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, r.exchange().describe())
}

// MarshalJSON marshals what Format writes. It cannot be read back.
func (r JSONRefresher) MarshalJSON() ([]byte, error) { return json.Marshal(r.exchange().describe()) }

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
		check.Endpoint("PasswordLogin.URL", l.URL, l.InsecureHTTP),
		check.Members("PasswordLogin", check.Member{"Username", cmp.Or(l.Username, "username")}, check.Member{"Password", cmp.Or(l.Password, "password")}),
		l.Response.checkResponse("PasswordLogin.Response"),
		check.Client("PasswordLogin.HTTPClient", l.HTTPClient),
	)
}
