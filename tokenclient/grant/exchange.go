package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The types of tokens that most exchanges are about (RFC 8693, section 3).
const (
	TypeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	TypeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token"
	TypeIDToken      = "urn:ietf:params:oauth:token-type:id_token"
	TypeJWT          = "urn:ietf:params:oauth:token-type:jwt"
)

// TokenExchange is the grant of RFC 8693: a token that says on whose behalf the client
// asks is exchanged for one that says so to another service. Scope, if there is one, is a
// field of the refresher.
//
// What the answer says of issued_token_type is in Extra of the new token. It may have a
// refresh token; this grant does not use it.
type TokenExchange struct {
	// Subject returns the subject_token. It is called for each exchange, also by several
	// goroutines at a time, and must return soon after ctx ends. With the access token of
	// another session, Session.Token of that one keeps it fresh. If it fails, nothing is
	// sent; its error is never ErrLoginRequired to the session with this grant. It is
	// required.
	Subject func(ctx context.Context) (string, error)

	// SubjectType is the type of what Subject returns. Empty: TypeAccessToken.
	SubjectType string

	// Actor returns the actor_token, of who acts on the subject's behalf, in the way of
	// Subject. Nil: none.
	Actor func(ctx context.Context) (string, error)

	// ActorType is the type of what Actor returns. Empty: TypeAccessToken.
	ActorType string

	// RequestedType is the type that the new token is to have. Empty: the server chooses.
	RequestedType string

	// Audience are the names of the services that the new token is for. Nil: none.
	Audience []string

	// Resource are the URIs of these services. They are absolute, without a fragment.
	// Nil: none.
	Resource []string
}

var _ tokenclient.Grant = TokenExchange{}

// Validate reports what can never work. tokenclient.New asks it.
func (e TokenExchange) Validate() error {
	switch {
	case e.Subject == nil:
		return errors.New("TokenExchange.Subject is nil; set it to a function that returns the token to exchange")
	case e.Actor == nil && e.ActorType != "":
		return errors.New("TokenExchange.ActorType is set, and Actor is nil; set both, or none")
	case slices.Contains(e.Audience, ""):
		return errors.New("TokenExchange.Audience has an empty name; leave it out")
	}
	for _, resource := range e.Resource {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || strings.Contains(resource, "#") { // an empty fragment is one, too
			return errors.New("TokenExchange.Resource has what is no absolute URI without a fragment (RFC 8693, section 2.1); write it like \"https://api.example.com\", or set Audience")
		}
	}
	return nil
}

// Params returns the tokens to exchange, and what for.
func (e TokenExchange) Params(ctx context.Context, _ *tokenclient.Token) (url.Values, error) {
	params := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}}
	if err := e.add(ctx, params, "subject_token", e.Subject, e.SubjectType); err != nil {
		return nil, err
	}
	if e.Actor != nil {
		if err := e.add(ctx, params, "actor_token", e.Actor, e.ActorType); err != nil {
			return nil, err
		}
	}
	if e.RequestedType != "" {
		params.Set("requested_token_type", e.RequestedType)
	}
	if len(e.Audience) > 0 {
		params["audience"] = slices.Clone(e.Audience)
	}
	if len(e.Resource) > 0 {
		params["resource"] = slices.Clone(e.Resource)
	}
	return params, nil
}

// add adds the token that f returns, under that name, and its type.
func (TokenExchange) add(ctx context.Context, params url.Values, name string, f func(context.Context) (string, error), kind string) error {
	token, err := called(ctx, name, f)
	if err != nil {
		return err
	}
	if kind == "" {
		kind = TypeAccessToken
	}
	params.Set(name, token)
	params.Set(name+"_type", kind)
	return nil
}

// called returns what f returns, which is sent under that name.
func called(ctx context.Context, name string, f func(context.Context) (string, error)) (string, error) {
	if f == nil {
		return "", fmt.Errorf("the function for the %s is nil", name)
	}
	text, err := f(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("no %s: %w", name, err)
	case text == "":
		return "", fmt.Errorf("the function for the %s returned an empty string", name)
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", fmt.Errorf("the function for the %s returned a control character, such as the line break at the end of a file; use strings.TrimSpace", name)
	}
	return text, nil
}

// Format writes what is exchanged for what, whatever the verb.
func (e TokenExchange) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.describe()) }

// MarshalJSON marshals what Format writes.
func (e TokenExchange) MarshalJSON() ([]byte, error) { return json.Marshal(e.describe()) }

func (e TokenExchange) describe() string {
	return fmt.Sprintf("TokenExchange{audience %q, resource %q}", e.Audience, e.Resource)
}
