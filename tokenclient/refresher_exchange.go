package tokenclient

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
)

// exchange is the client of a token endpoint behind all refreshers and logins: their parts,
// and the defaults in which they differ.
type exchange struct {
	kind  string // what the user calls it
	parts *OAuth2Refresher

	oauth2   bool     // sends grant_type, and needs a ClientAuth
	encoding Encoding // if parts say nothing
}

// refresh gets a new token for old.
func (x *exchange) refresh(ctx context.Context, old *Token) (*Token, error) {
	if old == nil {
		old = new(Token)
	}
	c := x.call("TokenURL", x.parts.TokenURL)
	if !x.can(old) {
		return nil, noRefreshToken(x.parts.TokenURL)
	}
	c.Secrets = []string{old.RefreshToken, old.AccessToken}
	if err := x.checkParts(); err != nil {
		return nil, callError(c.NotPresented(err))
	}
	binding, err := x.bind(ctx, c, old) // before the refresh token is spent
	if err != nil {
		return nil, bindError(c, err)
	}
	granted, err := x.granted(ctx, old)
	if err != nil {
		return nil, callError(c.NotPresented(noVerdict(err)))
	}
	c.Params = slices.Concat(granted, x.always())
	if x.parts.Attacher != nil && old.AccessToken != "" {
		c.Attach = func(req *http.Request) error { return x.parts.Attacher.Attach(req, old) }
	}
	t, err := requestToken(ctx, c, &x.parts.Response, x.terminal)
	return t.boundTo(binding), err
}

// granted is what is exchanged.
func (x *exchange) granted(ctx context.Context, old *Token) (list []endpoint.Param, err error) {
	if x.parts.Grant != nil {
		sent, err := x.parts.Grant.Params(ctx, old)
		return params(sent), err
	}
	if x.oauth2 {
		list = append(list, endpoint.Param{Name: "grant_type", Value: "refresh_token"})
	}
	names := x.parts.Request
	if old.RefreshToken != "" {
		list = append(list, endpoint.Param{Name: names.refreshToken(), Value: old.RefreshToken})
	}
	if old.AccessToken != "" && names.AccessToken != "" {
		list = append(list, endpoint.Param{Name: names.AccessToken, Value: old.AccessToken})
	}
	return list, nil
}

// always is what is sent whatever is exchanged.
func (x *exchange) always() []endpoint.Param {
	list := params(x.parts.Params)
	if x.parts.Scope != "" {
		list = append(list, endpoint.Param{Name: "scope", Value: x.parts.Scope})
	}
	return list
}

// params returns values as a list, in an order that does not change.
func params(values url.Values) (list []endpoint.Param) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[name] {
			list = append(list, endpoint.Param{Name: name, Value: v})
		}
	}
	return list
}

// login gets the first token for sent.
func (x *exchange) login(ctx context.Context, sent url.Values) (*Token, error) {
	c := x.call("TokenURL", x.parts.TokenURL)
	if err := x.validate(); err != nil {
		return nil, callError(c.NotPresented(err))
	}
	binding, err := x.bind(ctx, c, &Token{Binding: bindingOf(ctx)})
	if err != nil {
		return nil, callError(c.NotPresented(noVerdict(err)))
	}
	c.Params = params(sent)
	for _, p := range x.always() { // what the caller says goes before
		if !sent.Has(p.Name) {
			c.Params = append(c.Params, p)
		}
	}
	t, err := requestToken(ctx, c, &x.parts.Response, notTerminal)
	return t.boundTo(binding), err
}

// revoke tells the server to forget t.
func (x *exchange) revoke(ctx context.Context, t *Token) error {
	var value, hint string
	switch {
	case x.parts.RevocationURL == "" || t == nil:
		return nil
	case t.RefreshToken != "":
		value, hint = t.RefreshToken, "refresh_token"
	case t.AccessToken != "":
		value, hint = t.AccessToken, "access_token"
	default:
		return nil
	}
	c := x.call("RevocationURL", x.parts.RevocationURL)
	if err := x.checkClientAuth(); err != nil {
		return callError(c.NotPresented(cmp.Or(c.Check(), err)))
	}
	if _, err := x.bind(ctx, c, t); err != nil {
		c.Prove, c.Answered = nil, nil // RFC 7009 asks for none, and the token is to go
	}
	c.Params = []endpoint.Param{{Name: "token", Value: value}, {Name: "token_type_hint", Value: hint}}
	a, failure := c.Do(ctx)
	if failure == nil && !a.OK() {
		failure = a.Failure(nil)
	}
	if failure != nil {
		return callError(failure)
	}
	return nil
}

// call returns a call of the URL, which is in field, with the client's authentication.
func (x *exchange) call(field, rawURL string) *endpoint.Call {
	c := &endpoint.Call{
		Field: x.field(field), URL: rawURL, Client: x.parts.HTTPClient, InsecureHTTP: x.parts.InsecureHTTP,
		Encoding: endpoint.Form,
	}
	if cmp.Or(x.parts.Encoding, x.encoding) == JSONEncoding {
		c.Encoding = endpoint.JSON
	}
	if x.parts.ClientAuth != nil {
		c.Authenticate = x.parts.ClientAuth.Authenticate
	}
	return c
}

// terminal reports whether a, which brought no token, is final.
func (x *exchange) terminal(a *endpoint.Answer) bool {
	final := false
	switch {
	case x.parts.Grant != nil: // there is nothing that a login would bring
	case x.parts.ClientAuth == nil:
		final = endpoint.RefusesToken(a)
	default:
		final = endpoint.RefusesGrant(a)
	}
	if x.parts.Terminal == nil {
		return final
	}
	return x.parts.Terminal(Answer{StatusCode: a.Status, Header: a.Header, Body: a.Body, Code: a.Code(), Terminal: final})
}

func notTerminal(*endpoint.Answer) bool { return false }

// can reports whether there is something to exchange for t.
func (x *exchange) can(t *Token) bool {
	switch {
	case x.parts == nil: // embedded; Validate says so
		return false
	case x.parts.Grant != nil, t.RefreshToken != "":
		return true
	case t.AccessToken == "":
		return false
	}
	return x.parts.Attacher != nil || x.parts.Request.AccessToken != ""
}

// endpoints returns where requests go to.
func (x *exchange) endpoints() []string {
	if x.parts == nil {
		return nil
	}
	return []string{x.parts.TokenURL, x.parts.RevocationURL}
}

// describe says what x is, without a secret.
func (x *exchange) describe() string {
	where := endpoint.Name(x.parts.TokenURL)
	if x.parts.ClientAuth == nil && !x.oauth2 {
		return fmt.Sprintf("%s{%s}", x.kind, where)
	}
	auth := fmt.Sprintf("%T", x.parts.ClientAuth) // of a foreign one, nothing but the type is safe
	if own, ok := x.parts.ClientAuth.(*proof.Method); ok {
		auth = own.String()
	}
	return fmt.Sprintf("%s{%s, %s}", x.kind, where, auth)
}

// field is what the user calls a part.
func (x *exchange) field(name string) string { return x.kind + "." + name }

// validate reports what can never work.
func (x *exchange) validate() error {
	p := x.parts
	switch {
	case p == nil && x.oauth2: // embedded
		return fmt.Errorf("the *%s is nil; make one with a TokenURL and a ClientAuth", x.kind)
	case p == nil:
		return fmt.Errorf("the *%s is nil; make one with a TokenURL", x.kind)
	}
	errs := []error{
		check.Endpoint(x.field("TokenURL"), p.TokenURL, p.InsecureHTTP),
		x.checkParts(),
		check.Client(x.field("HTTPClient"), p.HTTPClient),
	}
	if p.ClientAuth != nil {
		errs = append(errs, check.Part(x.field("ClientAuth"), p.ClientAuth))
	}
	if p.Grant != nil {
		errs = append(errs, check.Part(x.field("Grant"), p.Grant))
	}
	if p.Binder != nil {
		errs = append(errs, check.Part(x.field("Binder"), p.Binder))
	}
	if p.Attacher != nil {
		errs = append(errs, checkAttacher(x.field("Attacher"), p.Attacher))
	}
	if p.RevocationURL != "" {
		errs = append(errs, check.Endpoint(x.field("RevocationURL"), p.RevocationURL, p.InsecureHTTP))
	}
	return first(errs...)
}

// checkParts reports what a refresh would stumble over. Each looks again, because not
// every one has been through [New].
func (x *exchange) checkParts() error {
	return first(
		x.checkClientAuth(),
		x.checkScope(),
		x.checkParams(),
		x.checkEncoding(),
		x.parts.Request.check(x.field("Request")),
		x.parts.Response.checkResponse(x.field("Response")),
		x.checkAttacher(),
	)
}

func (x *exchange) checkClientAuth() error {
	if x.parts.ClientAuth == nil && x.oauth2 {
		return fmt.Errorf("%s is nil; set it to PublicClient(id), ClientSecretBasic(id, secret) or ClientSecretPost(id, secret)", x.field("ClientAuth"))
	}
	return nil
}

func (x *exchange) checkScope() error {
	switch scope := x.parts.Scope; {
	case scope != "" && strings.TrimSpace(scope) == "":
		return fmt.Errorf("%s is blank; leave it empty for all that was granted", x.field("Scope"))
	case endpoint.HasControl(scope):
		return fmt.Errorf(`%s has a control character in it; write it like "read write"`, x.field("Scope"))
	}
	return nil
}

// checkParams refuses what would be sent twice.
func (x *exchange) checkParams() error {
	bad := func(name, remedy string) error {
		return fmt.Errorf("%s must not hold %s; %s", x.field("Params"), name, remedy)
	}
	switch p := x.parts.Params; {
	case p.Has("grant_type") && x.parts.Grant != nil:
		return bad("grant_type", "the Grant sends it")
	case p.Has("grant_type") && x.oauth2:
		return bad("grant_type", "each refresh sends it")
	case p.Has(x.parts.Request.refreshToken()):
		return bad(x.parts.Request.refreshToken(), "each refresh sends the session's own")
	case x.parts.Request.AccessToken != "" && p.Has(x.parts.Request.AccessToken):
		return bad(x.parts.Request.AccessToken, "each refresh sends the session's own")
	case p.Has("client_id") && x.parts.ClientAuth != nil || p.Has("client_id") && x.oauth2:
		return bad("client_id", fmt.Sprintf("set %s, for example to PublicClient(id)", x.field("ClientAuth")))
	case p.Has("client_secret") && x.parts.ClientAuth != nil || p.Has("client_secret") && x.oauth2:
		return bad("client_secret", fmt.Sprintf("set %s, for example to ClientSecretPost(id, secret)", x.field("ClientAuth")))
	case x.parts.Scope != "" && p.Has("scope"):
		return bad("scope", fmt.Sprintf("%s sends it", x.field("Scope")))
	case p.Has(""):
		return bad("a param without a name", "delete it")
	}
	return nil
}

func (x *exchange) checkEncoding() error {
	if x.parts.Encoding > JSONEncoding {
		return fmt.Errorf("%s is %d, which is none; write FormEncoding or JSONEncoding", x.field("Encoding"), x.parts.Encoding)
	}
	return nil
}

func (x *exchange) checkAttacher() error {
	if x.parts.Attacher == nil {
		return nil
	}
	if h, ok := x.parts.Attacher.(HeaderAttacher); ok {
		switch name := h.HeaderName(); name {
		case "Idempotency-Key", "X-Idempotency-Key":
			return fmt.Errorf("%s: HeaderAttacher(%q) is taken off each refresh, which net/http must not repeat; name another header", x.field("Attacher"), name)
		}
	}
	return checkHeader(x.field("Attacher"), x.parts.Attacher)
}

// refreshToken is the name under which the refresh token is sent.
func (f *RequestFields) refreshToken() string { return cmp.Or(f.RefreshToken, "refresh_token") }

// check reports what is wrong with f, in field.
func (f *RequestFields) check(field string) error {
	list := []check.Member{{"RefreshToken", f.refreshToken()}}
	if f.AccessToken != "" {
		list = append([]check.Member{{"AccessToken", f.AccessToken}}, list...)
	}
	return check.Members(field, list...)
}

// first returns the first of errs that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
