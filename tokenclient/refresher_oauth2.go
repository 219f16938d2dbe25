package tokenclient

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// An OAuth2Refresher refreshes tokens at an OAuth 2.0 token endpoint (RFC 6749,
// section 6) and revokes them (RFC 7009). Its fields must not be changed after
// its first use; it is safe for concurrent use.
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
	// is tried out.
	ClientAuth ClientAuth

	// Scope asks for a part of what was granted at login, as a list separated by
	// spaces (RFC 6749, section 3.3). Empty: all of it.
	Scope string

	// Params are sent along with each refresh: "audience", "resource" and the
	// like. They cannot hold grant_type, refresh_token, client_id, client_secret
	// or, if Scope is set, scope. Nil: none.
	Params url.Values

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
	_ Refresher = (*OAuth2Refresher)(nil)
	_ Revoker   = (*OAuth2Refresher)(nil)
	_ validator = (*OAuth2Refresher)(nil)
)

// Validate reports what can never work, by the name of the field and with what to write
// there, without a secret. [New] asks it, also of a struct that embeds an OAuth2Refresher.
func (r *OAuth2Refresher) Validate() error {
	if r == nil { // embedded
		return invalid(r, errors.New("the *OAuth2Refresher is nil; make one with a TokenURL and a ClientAuth"))
	}
	errs := []error{
		checkEndpoint("OAuth2Refresher.TokenURL", r.TokenURL, r.InsecureHTTP),
		r.checkClientAuth(),
		r.checkScope(),
		r.checkParams(),
		checkClient("OAuth2Refresher.HTTPClient", r.HTTPClient),
	}
	if r.RevocationURL != "" {
		errs = append(errs, checkEndpoint("OAuth2Refresher.RevocationURL", r.RevocationURL, r.InsecureHTTP))
	}
	return invalid(r, errs...)
}

func (r *OAuth2Refresher) checkClientAuth() error {
	if r.ClientAuth == nil {
		return errNoClientAuth
	}
	return checkPart("OAuth2Refresher.ClientAuth", r.ClientAuth)
}

func (r *OAuth2Refresher) checkScope() error {
	switch {
	case r.Scope != "" && strings.TrimSpace(r.Scope) == "":
		return errors.New("OAuth2Refresher.Scope is blank; leave it empty for all that was granted")
	case endpoint.HasControl(r.Scope):
		return errors.New(`OAuth2Refresher.Scope has a control character in it; write it like "read write"`)
	}
	return nil
}

// checkParams refuses what would be sent twice.
func (r *OAuth2Refresher) checkParams() error {
	bad := func(name, remedy string) error {
		return fmt.Errorf("OAuth2Refresher.Params must not hold %s; %s", name, remedy)
	}
	switch p := r.Params; {
	case p.Has("grant_type"):
		return bad("grant_type", "each refresh sends it")
	case p.Has("refresh_token"):
		return bad("refresh_token", "each refresh sends the session's own")
	case p.Has("client_id"):
		return bad("client_id", "set OAuth2Refresher.ClientAuth, for example to PublicClient(id)")
	case p.Has("client_secret"):
		return bad("client_secret", "set OAuth2Refresher.ClientAuth, for example to ClientSecretPost(id, secret)")
	case r.Scope != "" && p.Has("scope"):
		return bad("scope", "OAuth2Refresher.Scope sends it")
	case p.Has(""):
		return bad("a param without a name", "delete it")
	}
	return nil
}

// Refresh exchanges old's refresh token for a new pair. It reads the answer as
// [ParseToken] does. If the server sent no refresh token, the result has none
// either: the [Session] keeps the old one, and so should other callers.
//
// Every error is a [*TokenError]. It is ErrLoginRequired if the answer's error
// code is invalid_grant (or bad_refresh_token, as GitHub says), unless its status
// is 408, 425, 429 or 5xx, and if old has no refresh token. A 401 with another
// code or none refuses the client, not the token. The error is ErrNotPresented if
// the refresh token was certainly not sent.
func (r *OAuth2Refresher) Refresh(ctx context.Context, old *Token) (*Token, error) {
	c := r.call("OAuth2Refresher.TokenURL", r.TokenURL)
	if old == nil || old.RefreshToken == "" {
		return nil, noRefreshToken(r.TokenURL)
	}
	if err := r.checkParams(); err != nil {
		return nil, callError(c.NotPresented(err))
	}
	for name, values := range r.Params {
		for _, v := range values {
			c.Params = append(c.Params, endpoint.Param{Name: name, Value: v})
		}
	}
	c.Params = append(c.Params,
		endpoint.Param{Name: "grant_type", Value: "refresh_token"},
		endpoint.Param{Name: "refresh_token", Value: old.RefreshToken})
	if r.Scope != "" {
		c.Params = append(c.Params, endpoint.Param{Name: "scope", Value: r.Scope})
	}
	if r.ClientAuth == nil {
		return nil, noClientAuth(c)
	}
	return requestToken(ctx, c, nil, endpoint.RefusesGrant)
}

// Revoke asks the server to forget t's refresh token, with which most servers
// also forget the access tokens that came of it, or t's access token if there is
// no other (RFC 7009, section 2.1). It does nothing and returns nil if
// RevocationURL is empty or t is. Every error is a [*TokenError]; none is
// ErrLoginRequired.
func (r *OAuth2Refresher) Revoke(ctx context.Context, t *Token) error {
	var value, hint string
	switch {
	case r.RevocationURL == "" || t == nil:
		return nil
	case t.RefreshToken != "":
		value, hint = t.RefreshToken, "refresh_token"
	case t.AccessToken != "":
		value, hint = t.AccessToken, "access_token"
	default:
		return nil
	}
	c := r.call("OAuth2Refresher.RevocationURL", r.RevocationURL)
	c.Params = []endpoint.Param{{Name: "token", Value: value}, {Name: "token_type_hint", Value: hint}}
	if r.ClientAuth == nil {
		return noClientAuth(c)
	}
	a, failure := c.Do(ctx)
	if failure == nil && !a.OK() {
		failure = a.Failure(nil)
	}
	if failure != nil {
		return callError(failure)
	}
	return nil
}

// call returns a call with the client's authentication.
func (r *OAuth2Refresher) call(field, rawURL string) *endpoint.Call {
	c := &endpoint.Call{
		Field: field, URL: rawURL, Client: r.HTTPClient, InsecureHTTP: r.InsecureHTTP,
		Encoding: endpoint.Form,
	}
	if r.ClientAuth != nil {
		c.Authenticate = r.ClientAuth.Authenticate
	}
	return c
}

// noClientAuth is the error of c, which has none. That of the URL goes before it.
func noClientAuth(c *endpoint.Call) *TokenError {
	return callError(c.NotPresented(cmp.Or(c.Check(), errNoClientAuth)))
}

var errNoClientAuth = errors.New("OAuth2Refresher.ClientAuth is nil; set it to PublicClient(id), ClientSecretBasic(id, secret) or ClientSecretPost(id, secret)")

// Format writes the endpoint and the kind of client authentication, whatever the
// verb.
func (r OAuth2Refresher) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.describe()) }

// MarshalJSON marshals what Format writes. It cannot be read back.
func (r OAuth2Refresher) MarshalJSON() ([]byte, error) { return json.Marshal(r.describe()) }

func (r *OAuth2Refresher) describe() string {
	auth := fmt.Sprintf("%T", r.ClientAuth) // of a foreign one, nothing but the type is safe
	if own, ok := r.ClientAuth.(*clientAuth); ok {
		auth = own.text
	}
	return fmt.Sprintf("OAuth2Refresher{%s, %s}", endpoint.Name(r.TokenURL), auth)
}

// A ClientAuth proves to a token endpoint who the client is (RFC 6749, section
// 2.3). Its methods are called for each request to a token or revocation
// endpoint and must be safe for concurrent use.
//
// Servers disagree about which way they accept, and to try one after the other
// costs a refresh token where each may be presented once. So there is no default:
// use [PublicClient], [ClientSecretBasic] or [ClientSecretPost], or an
// implementation of your own. One of your own may have a method Validate, as a
// [Refresher] may.
type ClientAuth interface {
	// Authenticate adds to form, the body of the request, or to header what
	// identifies the client. endpoint is the URL that the request goes to. An
	// error means that nothing is sent.
	//
	// What it adds is treated as secret, but for client_id: it is kept out of
	// errors.
	Authenticate(ctx context.Context, endpoint string, form url.Values, header http.Header) error
}

// PublicClient is for programs that cannot keep a secret, such as apps and
// command-line tools: the form names the client id and nothing proves it. It is
// the method "none" of RFC 7591, section 2.
//
// [New] refuses an id that is empty or has a control character in it, such as the line
// break at the end of a file.
func PublicClient(id string) ClientAuth {
	return newClientAuth("PublicClient", id, nil, func(form url.Values, _ http.Header) {
		form.Set("client_id", id)
	})
}

// ClientSecretBasic sends the client's id and secret as HTTP Basic
// authentication, each of them form-urlencoded first as RFC 6749, section 2.3.1,
// demands. A few servers do not decode them: if yours does not and the secret has
// characters such as "+" or "/", use [ClientSecretPost].
//
// [New] refuses an id or a secret that is empty or has a control character in it, such as
// the line break at the end of a file: mostly a variable was not set. For a client whose
// secret is empty indeed, make a ClientAuth of your own.
//
// No verb of package fmt shows the secret.
func ClientSecretBasic(id, secret string) ClientAuth {
	return newClientAuth("ClientSecretBasic", id, checkSecret("ClientSecretBasic", secret), func(_ url.Values, header http.Header) {
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	})
}

// ClientSecretPost sends the client's id and secret in the form (RFC 6749,
// section 2.3.1). [New] refuses the same ids and secrets as with [ClientSecretBasic].
//
// No verb of package fmt shows the secret.
func ClientSecretPost(id, secret string) ClientAuth {
	return newClientAuth("ClientSecretPost", id, checkSecret("ClientSecretPost", secret), func(form url.Values, _ http.Header) {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	})
}

// clientAuth is a ClientAuth that is done in no time. It holds the secret in a
// closure and is used by pointer: printers that walk through fields by reflection,
// as fmt does with those that are not exported, find only addresses.
type clientAuth struct {
	text  string // what it prints as
	id    string
	wrong error // with the id or the secret; nil: nothing
	apply func(form url.Values, header http.Header)
}

// newClientAuth returns a ClientAuth whose secret is wrong in that way; nil: in none.
func newClientAuth(method, id string, wrong error, apply func(url.Values, http.Header)) *clientAuth {
	switch {
	case id == "":
		wrong = fmt.Errorf("%s has an empty client id; it is the client_id under which the server knows the program", method)
	case endpoint.HasControl(id):
		wrong = fmt.Errorf("the client id of %s %s", method, withControl)
	}
	return &clientAuth{fmt.Sprintf("%s(%q)", method, id), id, wrong, apply}
}

// checkSecret reports what is wrong with a client's secret.
func checkSecret(method, secret string) error {
	switch {
	case secret == "":
		return fmt.Errorf("%s has an empty client secret; use PublicClient(id) for a client that has none", method)
	case endpoint.HasControl(secret):
		return fmt.Errorf("the client secret of %s %s", method, withControl)
	}
	return nil
}

const withControl = "has a control character in it, such as the line break at the end of a file; use strings.TrimSpace"

// Validate reports what is wrong with the id or the secret.
func (a *clientAuth) Validate() error { return a.wrong }

var errNoClientID = errors.New("the client id is empty")

// Authenticate implements ClientAuth.
func (a *clientAuth) Authenticate(_ context.Context, _ string, form url.Values, header http.Header) error {
	if a.id == "" {
		return errNoClientID
	}
	a.apply(form, header)
	return nil
}

func (a *clientAuth) String() string               { return a.text }
func (a *clientAuth) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, a.text) }
func (a *clientAuth) MarshalJSON() ([]byte, error) { return json.Marshal(a.text) }
