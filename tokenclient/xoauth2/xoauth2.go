// Package xoauth2 goes between this module and golang.org/x/oauth2. Logins may stay
// there (those of package login need nothing of this one); a [tokenclient.Session] takes
// over with the first token. [TakeOver] does it in one call, and [FromToken] with each later
// login:
//
//	session, err := xoauth2.TakeOver(ctx, conf, token, tokenclient.Config{Origins: …})
//	err = session.SetToken(ctx, xoauth2.FromToken(token)) // after another login
//
// The other way, [TokenSource] and [ToToken] serve packages that want the types
// of x/oauth2.
package xoauth2

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Refresher returns what refreshes the tokens that c's logins give: it has c's
// token endpoint, and proves who the client is as c does. Without a ClientSecret
// the client is public and AuthStyle does not matter. With one, AuthStyle must be
// [oauth2.AuthStyleInParams] or [oauth2.AuthStyleInHeader]: the default,
// AuthStyleAutoDetect, tries one and then the other, which with a refresh token
// that may be presented once can cost the session. Then, and if the client id, the secret
// or the token endpoint of c can never work, there is an error that names the field. Plain
// http is left for [tokenclient.New] to judge.
//
// What c does not have can be set in the result before its first use: RevocationURL, Params,
// Encoding (Atlassian takes JSON: tokenclient.JSONEncoding), Terminal and the rest, and
// HTTPClient, which is not taken from a context here.
// Scopes are not sent, as x/oauth2 sends none: a refresh keeps what the login got.
func Refresher(c *oauth2.Config) (*tokenclient.OAuth2Refresher, error) {
	switch {
	case c == nil:
		return nil, errors.New("xoauth2: Refresher: the oauth2.Config is nil")
	case c.ClientID == "":
		return nil, errors.New("xoauth2: Refresher: oauth2.Config.ClientID is empty; it is the client_id under which the server knows the program")
	case endpoint.HasControl(c.ClientID):
		return nil, errors.New("xoauth2: Refresher: oauth2.Config.ClientID " + withControl)
	case endpoint.HasControl(c.ClientSecret):
		return nil, errors.New("xoauth2: Refresher: oauth2.Config.ClientSecret " + withControl)
	}
	call := endpoint.Call{Field: "oauth2.Config.Endpoint.TokenURL", URL: c.Endpoint.TokenURL, InsecureHTTP: true}
	if err := call.Check(); err != nil {
		return nil, fmt.Errorf("xoauth2: Refresher: %w", err)
	}
	r := &tokenclient.OAuth2Refresher{TokenURL: c.Endpoint.TokenURL}
	switch style := c.Endpoint.AuthStyle; {
	case c.ClientSecret == "":
		r.ClientAuth = tokenclient.PublicClient(c.ClientID)
	case style == oauth2.AuthStyleInParams:
		r.ClientAuth = tokenclient.ClientSecretPost(c.ClientID, c.ClientSecret)
	case style == oauth2.AuthStyleInHeader:
		r.ClientAuth = tokenclient.ClientSecretBasic(c.ClientID, c.ClientSecret)
	case style == oauth2.AuthStyleAutoDetect:
		return nil, errors.New("xoauth2: Refresher: oauth2.Config.Endpoint.AuthStyle is AuthStyleAutoDetect, which tries out what the server takes" +
			" and can spend the refresh token; set it to oauth2.AuthStyleInParams (client_secret_post) or oauth2.AuthStyleInHeader (client_secret_basic)")
	default:
		return nil, fmt.Errorf("xoauth2: Refresher: oauth2.Config.Endpoint.AuthStyle is %d; set it to oauth2.AuthStyleInParams or oauth2.AuthStyleInHeader", style)
	}
	return r, nil
}

const withControl = "has a control character in it, such as the line break at the end of a file; use strings.TrimSpace"

// TokenSource returns a source of s's current token, for packages that want one.
// It asks [tokenclient.Session.Token] each time, with ctx, which therefore must
// live as long as the source is used; errors are those of the Session.
//
// The tokens have no refresh token: who presents it beside the Session ends the
// session, where servers rotate.
//
// For HTTP use [tokenclient.Session.Client] in place of [oauth2.NewClient]: the
// latter keeps a token until it expires, and hands out every 401.
func TokenSource(ctx context.Context, s *tokenclient.Session) oauth2.TokenSource {
	return &tokenSource{ctx, s}
}

// tokenSource keeps a context because oauth2.TokenSource has no place for one.
type tokenSource struct {
	ctx     context.Context
	session *tokenclient.Session
}

// Token implements oauth2.TokenSource.
func (s *tokenSource) Token() (*oauth2.Token, error) {
	t, err := s.session.Token(s.ctx)
	if err != nil {
		return nil, err
	}
	t.RefreshToken, t.Binding = "", "" // t is a copy
	return ToToken(t), nil
}
