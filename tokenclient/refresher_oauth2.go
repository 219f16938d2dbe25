package tokenclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
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
	// spaces. Empty: all of it.
	Scope string

	// Params are sent along with each refresh: "audience", "resource" and the
	// like. They cannot hold grant_type, refresh_token, client_id, client_secret
	// or, if Scope is set, scope. Nil: none.
	Params url.Values

	// HTTPClient makes the requests. It is copied: the copy follows no
	// redirects, because the body holds the refresh token. Nil:
	// http.DefaultClient.
	HTTPClient *http.Client

	// InsecureHTTP allows plain http to other machines, where everybody on the
	// way can read the tokens.
	InsecureHTTP bool
}

var (
	_ Refresher = (*OAuth2Refresher)(nil)
	_ Revoker   = (*OAuth2Refresher)(nil)
)

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
	c := &endpointCall{field: "OAuth2Refresher.TokenURL", url: r.TokenURL}
	if old == nil || old.RefreshToken == "" {
		return nil, c.fail(0, errNoRefreshToken)
	}
	form := make(url.Values)
	for name, values := range r.Params {
		form[name] = slices.Clone(values) // a ClientAuth may append to them
	}
	for _, name := range []string{"grant_type", "refresh_token", "client_id", "client_secret", "scope"} {
		if form.Has(name) && (name != "scope" || r.Scope != "") {
			return nil, c.fail(0, &notPresented{fmt.Errorf("OAuth2Refresher.Params must not hold %s", name)})
		}
	}
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", old.RefreshToken)
	if r.Scope != "" {
		form.Set("scope", r.Scope)
	}
	a, err := r.post(ctx, c, form)
	if err != nil {
		return nil, err
	}
	return a.token(nil, a.refusesToken)
}

// Revoke asks the server to forget t's refresh token, with which most servers
// also forget the access tokens that came of it, or t's access token if there is
// no other (RFC 7009, section 2.1). It does nothing and returns nil if
// RevocationURL is empty or t is. Every error is a [*TokenError]; none is
// ErrLoginRequired.
func (r *OAuth2Refresher) Revoke(ctx context.Context, t *Token) error {
	form := make(url.Values)
	switch {
	case r.RevocationURL == "" || t == nil:
		return nil
	case t.RefreshToken != "":
		form.Set("token", t.RefreshToken)
		form.Set("token_type_hint", "refresh_token")
	case t.AccessToken != "":
		form.Set("token", t.AccessToken)
		form.Set("token_type_hint", "access_token")
	default:
		return nil
	}
	c := &endpointCall{field: "OAuth2Refresher.RevocationURL", url: r.RevocationURL}
	a, err := r.post(ctx, c, form)
	if err != nil {
		return err
	}
	if !a.ok() {
		return a.fail(nil)
	}
	return nil
}

// post sends form with the client's authentication.
func (r *OAuth2Refresher) post(ctx context.Context, c *endpointCall, form url.Values) (*endpointAnswer, error) {
	c.client, c.insecureHTTP = r.HTTPClient, r.InsecureHTTP
	// Before a ClientAuth gets to sign for it.
	if _, err := c.check(); err != nil {
		return nil, c.fail(0, &notPresented{err})
	}
	if r.ClientAuth == nil {
		return nil, c.fail(0, &notPresented{errNoClientAuth})
	}
	c.header = make(http.Header)
	err := r.ClientAuth.Authenticate(ctx, c.url, form, c.header)
	c.secrets = secretsOf(form, c.header)
	if err != nil {
		return nil, c.fail(0, &notPresented{fmt.Errorf("client authentication: %w", c.safe(err))})
	}
	c.header.Set("Content-Type", "application/x-www-form-urlencoded")
	c.body = []byte(form.Encode())
	return c.do(ctx)
}

var (
	errNoClientAuth = errors.New("OAuth2Refresher.ClientAuth is nil; set it to PublicClient(id), ClientSecretBasic(id, secret) or ClientSecretPost(id, secret)")

	// errNoRefreshToken ends the session without asking the server.
	errNoRefreshToken error = &notPresented{&kindError{"the token has no refresh token; log in again", ErrLoginRequired}}
)

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
	return fmt.Sprintf("OAuth2Refresher{%s, %s}", endpointName(r.TokenURL), auth)
}
