package tokenclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
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
