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

// An OAuth2Refresher gets tokens at an OAuth 2.0 token endpoint (RFC 6749, section 3.2)
// and revokes them (RFC 7009). Its parts can be chosen each by itself: how the client
// proves who it is, what is exchanged, how that is written, by which names the answer is
// read, and which answer is final. Its fields must not be changed after its first use; it
// is safe for concurrent use.
//
// A [JSONRefresher] has the same parts, and the defaults of an API that has its own way to
// refresh.
//
// When it is printed or marshalled to JSON it shows neither Params nor the
// client's secret. Package fmt cannot call its methods in an unexported field of
// another struct; there %v shows an address, but %s would show Params.
type OAuth2Refresher struct {
	// TokenURL is the token endpoint, such as "https://auth.example.com/token".
	// It must be https, or http to localhost or another loopback address. It is
	// required.
	TokenURL string

	// RevocationURL is the revocation endpoint. Empty: the server has none, and
	// Revoke does nothing.
	RevocationURL string

	// ClientAuth says how the client proves who it is. It is required; nothing
	// is tried out. A JSONRefresher may do without: then nothing proves it.
	ClientAuth ClientAuth

	// Grant is what is exchanged. Nil: the refresh token (RFC 6749, section 6). Package
	// grant has others, which need none, nor a login: a Session without a token begins
	// with a refresh then.
	Grant Grant

	// Binder has the server bind the tokens to a key (RFC 9449, with package dpop). Nil: they
	// are not bound.
	Binder Binder

	// Scope asks for a part of what was granted at login, as a list separated by
	// spaces (RFC 6749, section 3.3). Empty: all of it.
	Scope string

	// Params are sent along with each refresh: "audience", "resource" (RFC 8707) and the
	// like. They are secret, but for these two. They cannot hold what the other fields
	// send: refresh_token, client_id, client_secret, grant_type (but in a JSONRefresher
	// without a Grant) and, if Scope is set, scope. Nil: none.
	Params url.Values

	// Encoding says how what is sent is written. Zero: FormEncoding, or JSONEncoding in a
	// JSONRefresher.
	Encoding Encoding

	// Request names what is sent of the old token.
	Request RequestFields

	// Attacher also puts the access token, expired or not, on the request, as
	// HeaderAttacher("X-Auth-Token") does, for endpoints that take the access
	// token itself: a heartbeat that answers a new one, for example. A token
	// without a refresh token is refreshed by the access token alone then. Nil: it is not
	// put there.
	Attacher Attacher

	// Response names what is read of the answer.
	Response JSONFields

	// Terminal reports whether an answer without a token says that what was exchanged is
	// dead for good, so that only a login helps. It is asked about every complete answer
	// but redirects that is not a success with a token in it, and nothing else decides
	// then. It must keep nothing of the answer, and not change it.
	//
	// Nil: Answer.Terminal decides.
	Terminal func(Answer) bool

	// HTTPClient makes the requests. It is copied: the copy follows no
	// redirects, because the body holds the refresh token. If its Transport adds a
	// credential of its own, such as a gateway's token, a 401 may be about that, and reads as
	// one about the refresh token: have Terminal tell the two apart. Nil: http.DefaultClient.
	// If it has no Transport, it gets connections of its own with HTTP/2 pings; a
	// Transport that the program gives should have them too. See "Connections" in
	// the package documentation.
	HTTPClient *http.Client

	// InsecureHTTP allows plain http to other machines, where everybody on the
	// way can read the tokens.
	InsecureHTTP bool
}

// Encoding says how what is sent to a token endpoint is written.
type Encoding uint8

const (
	// FormEncoding is application/x-www-form-urlencoded (RFC 6749, appendix B).
	FormEncoding Encoding = 1

	// JSONEncoding is one JSON object. A dot in a name goes into an object: "data.token"
	// is the member token of the object data. Of a param with several values it makes an
	// array.
	JSONEncoding Encoding = 2
)

// RequestFields names what is sent of a token that is refreshed by its refresh token. No
// two may be the same, nor, with JSONEncoding, one inside of another.
type RequestFields struct {
	// RefreshToken: "refresh_token" if empty.
	RefreshToken string

	// AccessToken is sent too, expired or not, if this is not empty. A token without a
	// refresh token is refreshed by the access token alone then.
	AccessToken string
}

// An Answer is what a token endpoint said that brought no token, for
// [OAuth2Refresher].Terminal to judge.
type Answer struct {
	StatusCode int
	Header     http.Header
	Body       []byte // at most 1 MiB

	// Code is the error code, wherever the server put it: "error" (RFC 6749, section 5.2),
	// or what others have in its place. Empty: there is none.
	Code string

	// Terminal is what decides if nobody else does. A server that is overloaded or broken
	// (408, 425, 429, 5xx) says nothing final. Of others an error code does that is known
	// to end what was exchanged, such as invalid_grant; docs/servers.md has the table. So
	// does a 401 from an endpoint that is shown nothing but the token, without a
	// ClientAuth, unless it is HTML, which a proxy may have sent, or its code is about
	// something else than the token. To a Grant that needs no login nothing is final.
	Terminal bool
}

var (
	_ Refresher       = (*OAuth2Refresher)(nil)
	_ Revoker         = (*OAuth2Refresher)(nil)
	_ check.Validator = (*OAuth2Refresher)(nil)
	_ canRefresher    = (*OAuth2Refresher)(nil)
	_ endpointer      = (*OAuth2Refresher)(nil)
)

func (r *OAuth2Refresher) exchange() *exchange {
	return &exchange{kind: "OAuth2Refresher", parts: r, oauth2: true, encoding: FormEncoding}
}

// Validate reports what can never work, by the name of the field and with what to write
// there, without a secret. [New] asks it, also of a struct that embeds an OAuth2Refresher.
func (r *OAuth2Refresher) Validate() error { return check.Invalid(r, r.exchange().validate()) }

// CanRefresh reports whether Refresh can do anything with t: whether there is a Grant, or t
// has what is sent. The [Refresher] says what it is for.
func (r *OAuth2Refresher) CanRefresh(t *Token) bool { return r.exchange().can(t) }

// Endpoints returns the URLs that requests go to. The [Refresher] says what it is for.
func (r *OAuth2Refresher) Endpoints() []string { return r.exchange().endpoints() }

// Refresh exchanges old's refresh token, or what the Grant says, for a new token. It reads
// the answer as [ParseToken] does. If the server sent no refresh token, the result has none
// either: the [Session] keeps the old one, and so should other callers.
//
// Every error is a [*TokenError]. It is ErrLoginRequired if the answer is terminal (see
// [Answer]), and if old has nothing to send. It is ErrNotPresented if nothing was sent,
// for certain.
func (r *OAuth2Refresher) Refresh(ctx context.Context, old *Token) (*Token, error) {
	return r.exchange().refresh(ctx, old)
}

// Login exchanges what a login brought for a token: an authorization code (RFC 6749,
// section 4.1.3), a device code (RFC 8628, section 3.4), or what else the server takes.
// params are sent as they are, with grant_type among them, together with the ClientAuth, Scope and
// Params of r. The result is for [Session.SetToken]. There is no timeout but ctx's and the
// HTTPClient's.
//
// Every error is a [*TokenError] with the server's Code, such as authorization_pending, and
// never ErrLoginRequired: that is about a session, and there is none yet. It is
// ErrNotPresented if nothing was sent, for certain. It shows nothing of params.
func (r *OAuth2Refresher) Login(ctx context.Context, params url.Values) (*Token, error) {
	return r.exchange().login(ctx, params)
}

// Revoke asks the server to forget t's refresh token, with which most servers
// also forget the access tokens that came of it, or t's access token if there is
// no other (RFC 7009, section 2.1). It does nothing and returns nil if
// RevocationURL is empty or t is. Every error is a [*TokenError]; none is
// ErrLoginRequired.
func (r *OAuth2Refresher) Revoke(ctx context.Context, t *Token) error {
	return r.exchange().revoke(ctx, t)
}

// Format writes the endpoint and the kind of client authentication, whatever the
// verb.
func (r OAuth2Refresher) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, r.exchange().describe())
}

// MarshalJSON marshals what Format writes. It cannot be read back.
func (r OAuth2Refresher) MarshalJSON() ([]byte, error) { return json.Marshal(r.exchange().describe()) }

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
