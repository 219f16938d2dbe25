package tokenclient

import (
	"context"
	"encoding/json"
	"errors"
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

// A Binder has servers bind tokens to a key of the client's, so that a thief has no use for
// them. Package dpop has one (RFC 9449). A Binder is safe for concurrent use, and may have a
// method Validate, as a [Refresher] may.
type Binder interface {
	// NewBinding makes the [Token].Binding of a login that has not happened yet, for
	// [WithBinding]. thumbprint is what an authorization request says of it, as dpop_jkt
	// (RFC 9449, section 10); empty: nothing.
	NewBinding() (binding, thumbprint string, err error)

	// Bind is called before each call of a token or revocation endpoint. t is the token that
	// is exchanged or revoked, never nil; of a login it has nothing but the Binding of
	// WithBinding, or not even that. binding is what goes with the token of the answer, and
	// proof puts on the request what proves it: it is asked for each sending, with a token
	// that has the binding, and is told of each answer if it has a method Answered, as an
	// [Attacher] may. (It may read the body there.) The call is made again at most twice for that.
	//
	// An error means that nothing is sent. One that is ErrLoginRequired says that what t is
	// bound to is lost.
	Bind(ctx context.Context, t *Token) (binding string, proof Attacher, err error)
}

type bindingKey struct{}

// WithBinding returns a context in which [OAuth2Refresher].Login binds the token to binding,
// which is of [Binder].NewBinding. Without it a Binder makes a new one. It is for logins
// that name their key before they have the code, and for polls of a device code.
func WithBinding(ctx context.Context, binding string) context.Context {
	return context.WithValue(ctx, bindingKey{}, binding)
}

// bindingOf returns what WithBinding was given.
func bindingOf(ctx context.Context) string {
	binding, _ := ctx.Value(bindingKey{}).(string)
	return binding
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

// bind has c prove what the token that it asks for is bound to in the place of t.
func (x *exchange) bind(ctx context.Context, c *endpoint.Call, t *Token) (binding string, err error) {
	if x.parts.Binder == nil {
		return "", nil
	}
	binding, proof, err := x.parts.Binder.Bind(ctx, t)
	if err != nil && x.parts.Grant != nil { // what it exchanges is not bound
		binding, proof, err = x.parts.Binder.Bind(ctx, new(Token))
	}
	if err != nil || proof == nil {
		return binding, err
	}
	bound := t.Clone().boundTo(binding)
	c.Secrets = append(c.Secrets, binding)
	c.Prove = func(req *http.Request) error { return proof.Attach(req, bound) }
	if a, ok := proof.(answerer); ok {
		c.Answered = func(req *http.Request, resp *http.Response) bool { return a.Answered(req, resp, bound) }
	}
	return binding, nil
}

// bindError is the error of a call that was not made because of err, of a Binder.
func bindError(c *endpoint.Call, err error) *TokenError {
	if !errors.Is(err, ErrLoginRequired) {
		return callError(c.NotPresented(noVerdict(err)))
	}
	e := callError(c.NotPresented(nil))
	e.Err = &notPresented{&kindError{err.Error(), ErrLoginRequired}}
	return e
}

// boundTo returns t, which may be nil, bound to binding.
func (t *Token) boundTo(binding string) *Token {
	if t != nil {
		t.Binding = binding
	}
	return t
}
