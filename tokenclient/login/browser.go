package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// browserTimeout is Config.Timeout in Browser if that is zero.
const browserTimeout = 5 * time.Minute

// Browser logs s in by a browser on this machine: with an authorization code (RFC 6749,
// section 4.1) and PKCE (RFC 7636, S256), which the browser brings to a port of 127.0.0.1
// that is open as long as the login lasts (RFC 8252). The package documentation says what is
// checked of the answer.
//
// Nil means that s has the new token, by [tokenclient.Session.SetToken]. What s had before is
// not revoked. The server's "id_token" and what else it sent are in the token's Extra, which
// [tokenclient.Session.Peek] shows.
//
// An error is ErrDenied, ErrNotFinished, ctx's or Prompt's; a [*ResponseError] if the answer
// that came by the browser has no code; a [*tokenclient.TokenError] if the token endpoint
// gave no token for it; one of SetToken; or says what is wrong with c, before anybody is
// asked. After an error s is as it was, and a token that came all the same is revoked,
// which may take five seconds more, also after the end of ctx. When Browser returns, the port
// is closed.
func Browser(ctx context.Context, s *tokenclient.Session, c Config) error {
	cl, err := c.client(ctx, s)
	if err != nil {
		return err
	}
	if err := cl.checkEndpoint("AuthorizationEndpoint", cl.metadata.AuthorizationEndpoint); err != nil {
		return err
	}
	ctx, thumbprint, err := cl.bind(ctx)
	if err != nil {
		return err
	}
	l, err := listen(ctx, c.RedirectURL)
	if err != nil {
		return err
	}
	r := cl.newRequest(l.redirectURL, thumbprint)
	cb := l.serve(r.expected())
	defer cb.close()
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = browserTimeout
	}
	return c.asking(ctx, Prompt{URL: r.url()}, timeout, func(waiting context.Context) error {
		code, err := cb.wait(waiting)
		if err == nil {
			err = r.redeem(ctx, s, code)
		}
		cb.tell(ctx, err)
		return cb.explain(err)
	})
}

// explain says more of a login that nobody finished.
func (cb *callback) explain(err error) error {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	if errors.Is(err, ErrNotFinished) && cb.strays > 0 {
		return fmt.Errorf("%w; answers with another state came, or with none: %d", err, cb.strays)
	}
	return err
}

// A request is what Browser asks for, and what it knows of it (RFC 6749, section 4.1.1).
type request struct {
	*client
	redirectURL string
	state       string
	verifier    string // of PKCE
	nonce       string // "": none
	thumbprint  string // of the key that the tokens are bound to; "": none
}

func (cl *client) newRequest(redirectURL, thumbprint string) *request {
	r := &request{client: cl, redirectURL: redirectURL, state: rand.Text(), verifier: oauth2.GenerateVerifier(), thumbprint: thumbprint}
	if r.nonce = cl.params.Get("nonce"); r.nonce == "" && hasScope(cl.scope, "openid") {
		r.nonce = rand.Text()
	}
	return r
}

// url is the address that the browser opens.
func (r *request) url() string {
	c := oauth2.Config{ClientID: r.id, RedirectURL: r.redirectURL, Endpoint: oauth2.Endpoint{AuthURL: r.metadata.AuthorizationEndpoint}}
	c.Scopes = strings.Fields(r.scope)
	address := c.AuthCodeURL(r.state, oauth2.S256ChallengeOption(r.verifier))
	if r.nonce != "" {
		r.params.Set("nonce", r.nonce)
	}
	if r.thumbprint != "" {
		r.params.Set("dpop_jkt", r.thumbprint)
	}
	if len(r.params) > 0 { // may have several values of a name, for which x/oauth2 has no place
		address += "&" + r.params.Encode()
	}
	return address
}

func (r *request) expected() expected {
	return expected{
		state: r.state, issuer: r.metadata.Issuer, named: namesItself(r.metadata),
		secrets: redact.Secrets{r.state, r.verifier, r.nonce},
	}
}

// redeem exchanges the code for a token, and hands that to s. The code is sent once,
// whatever becomes of it (RFC 6749, section 4.1.2).
func (r *request) redeem(ctx context.Context, s *tokenclient.Session, code string) error {
	t, err := r.exchange(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {r.redirectURL}, "code_verifier": {r.verifier},
	})
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	if err := r.checkNonce(t); err != nil {
		return errors.Join(err, r.revoke(ctx, t))
	}
	return r.hand(ctx, s, t)
}

// checkNonce compares the nonce of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).
// The token came from the token endpoint itself, so its signature is not needed for that. One
// that is encrypted is for the program to read.
func (r *request) checkNonce(t *tokenclient.Token) error {
	idToken, ok := t.Extra["id_token"].(string)
	if !ok || r.nonce == "" || strings.Count(idToken, ".") == 4 {
		return nil
	}
	// The error is not looked at: a token of which no nonce can be read has the wrong one.
	claims := jwt.MapClaims{}
	_, _, _ = jwt.NewParser(jwt.WithPaddingAllowed()).ParseUnverified(idToken, claims)
	if got, _ := claims["nonce"].(string); subtle.ConstantTimeCompare([]byte(got), []byte(r.nonce)) != 1 {
		return &ResponseError{Err: errors.New("led to an ID token with another nonce than this login's, or none")}
	}
	return nil
}
