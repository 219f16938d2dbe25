package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// A Config says where somebody logs in, and how that one is asked. It is read when a login
// begins, and not changed; one may serve any number of logins, of both kinds.
type Config struct {
	// Refresher is the one of the session's Config. Its token endpoint, ClientAuth,
	// HTTPClient and what else it has are those of the login. It is required, and one of two:
	//
	// A *discovery.Refresher knows where everything is. Its server is asked when a login
	// begins. What its Make returns must be a *tokenclient.OAuth2Refresher.
	//
	// A *tokenclient.OAuth2Refresher needs Metadata beside it.
	//
	// A ClientAuth of the program's own has to have a method ClientID() string, as those of
	// this module have: the id is in a part of the login where nothing proves it.
	Refresher tokenclient.Refresher

	// Metadata is what the server says of itself, as discovery.Find returns it. Of a server
	// that has none it is written by hand: AuthorizationEndpoint for Browser,
	// DeviceAuthorizationEndpoint for Device, and Issuer for a server that names itself in its
	// answers (RFC 9207). It must be nil beside a *discovery.Refresher.
	Metadata *discovery.Metadata

	// Scope asks for access, as a list separated by spaces (RFC 6749, section 3.3):
	// "openid offline_access", for example. Empty: the Scope of the OAuth2Refresher, and
	// without one what the server gives by itself.
	Scope string

	// Params are sent along with the request that begins the login: "prompt",
	// "login_hint", "max_age" and the like. They are in the address that the browser opens,
	// so they are no secrets. They cannot hold what the login sends itself. Nil: none. The
	// "audience" and "resource" of the OAuth2Refresher's Params are sent too, unless they are
	// here.
	Params url.Values

	// RedirectURL is where the browser brings the answer to Browser (RFC 8252, section 7.3):
	// http, one of the hosts 127.0.0.1, [::1] and localhost, a port, and a path. Without a
	// port, or with port 0, it is any free one, which servers have to allow for 127.0.0.1 and
	// [::1]. Empty: "http://127.0.0.1/callback", or "http://[::1]/callback" where there is no
	// IPv4.
	RedirectURL string

	// Timeout is how long the person has: to log in, and with that to be back. Zero or less:
	// five minutes in Browser, and in Device as long as the code lives.
	Timeout time.Duration

	// Prompt asks the person to log in. It is called once, on a goroutine of its own. Its
	// context ends when the login is over: then it should return, and is left behind if it
	// does not within a second. An error of its, if nobody has logged in by then, ends the
	// login and is returned.
	//
	// Nil: Browser has the system's browser open the address (see OpenBrowser), and both
	// write what there is to do to os.Stderr.
	Prompt func(ctx context.Context, p Prompt) error
}

// A client is a Config whose parts have been found and checked.
type client struct {
	id        string
	scope     string
	params    url.Values // of the request that begins the login; not the Config's own
	metadata  *discovery.Metadata
	refresher *tokenclient.OAuth2Refresher
}

// client finds what c needs.
func (c *Config) client(ctx context.Context, s *tokenclient.Session) (*client, error) {
	if s == nil {
		return nil, errors.New("login: the *tokenclient.Session is nil; tokenclient.New makes one")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	if err := c.checkParams(); err != nil {
		return nil, err
	}
	r, md, err := c.server(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	named, ok := r.ClientAuth.(interface{ ClientID() string })
	if !ok {
		return nil, fmt.Errorf("login: the ClientAuth is a %T, which has no method ClientID() string; it returns the client_id under which the server knows the program", r.ClientAuth)
	}
	cl := &client{id: named.ClientID(), scope: cmp.Or(c.Scope, r.Scope), params: maps.Clone(c.Params), metadata: md, refresher: r}
	if cl.id == "" {
		return nil, errors.New("login: the ClientAuth names no client; use tokenclient.PublicClient(id) for a client without a secret")
	}
	if cl.params == nil {
		cl.params = url.Values{}
	}
	for _, name := range []string{"audience", "resource"} { // RFC 8707, section 2.1; all others may be secret
		if !cl.params.Has(name) && r.Params.Has(name) {
			cl.params[name] = r.Params[name]
		}
	}
	return cl, nil
}

// server returns the client of the token endpoint, and where the other endpoints are.
func (c *Config) server(ctx context.Context) (*tokenclient.OAuth2Refresher, *discovery.Metadata, error) {
	switch r := c.Refresher.(type) {
	case *tokenclient.OAuth2Refresher:
		if c.Metadata == nil {
			return nil, nil, errors.New("login: Config.Metadata is nil; use what discovery.Find returns, or write down the endpoints of a server that has no metadata")
		}
		return r, c.Metadata, nil
	case *discovery.Refresher:
		if c.Metadata != nil {
			return nil, nil, errors.New("login: Config.Metadata is set beside a *discovery.Refresher, which finds it; leave it nil")
		}
		return found(ctx, r)
	case nil:
		return nil, nil, errors.New("login: Config.Refresher is nil; use that of the session's Config")
	default:
		return nil, nil, fmt.Errorf("login: Config.Refresher is a %T; use a *discovery.Refresher or a *tokenclient.OAuth2Refresher", r)
	}
}

// found asks the server of r.
func found(ctx context.Context, r *discovery.Refresher) (*tokenclient.OAuth2Refresher, *discovery.Metadata, error) {
	if err := r.Validate(); err != nil {
		return nil, nil, fmt.Errorf("login: %w", err)
	}
	finder := r.Client
	if finder == nil {
		finder = new(discovery.Client)
	}
	md, err := finder.Find(ctx, r.Issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("login: %w", err)
	}
	made := r.Make(md)
	oauth2, ok := made.(*tokenclient.OAuth2Refresher)
	if !ok {
		return nil, nil, fmt.Errorf("login: discovery.Refresher.Make returned a %T; a login needs a *tokenclient.OAuth2Refresher", made)
	}
	return oauth2, md, nil
}

// bind makes the binding of the tokens that the login will bring, if the refresher binds
// them. All calls of the token endpoint are made with ctx. thumbprint is what an
// authorization request says of it (RFC 9449, section 10); "": nothing.
func (cl *client) bind(ctx context.Context) (bound context.Context, thumbprint string, err error) {
	if cl.refresher.Binder == nil {
		return ctx, "", nil
	}
	binding, thumbprint, err := cl.refresher.Binder.NewBinding()
	if err != nil {
		return nil, "", fmt.Errorf("login: %w", err)
	}
	return tokenclient.WithBinding(ctx, binding), thumbprint, nil
}

// checkParams refuses what would be sent twice, or cannot be understood when it comes back.
func (c *Config) checkParams() error {
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "state", "code_challenge", "code_challenge_method", "dpop_jkt"} {
		if c.Params.Has(name) {
			return fmt.Errorf("login: Config.Params must not hold %s; the login sends its own", name)
		}
	}
	switch {
	case c.Params.Has("scope"):
		return errors.New("login: Config.Params must not hold scope; set Config.Scope")
	case len(c.Params["nonce"]) > 1:
		return errors.New("login: Config.Params must not hold nonce twice; leave it out, or one there")
	case c.Params.Has("response_mode") && c.Params.Get("response_mode") != "query":
		return errors.New("login: Config.Params must not hold response_mode; the answer comes in the query")
	case endpoint.HasControl(c.Scope):
		return errors.New(`login: Config.Scope has a control character in it; write it like "openid offline_access"`)
	}
	return nil
}

// checkEndpoint reports what is wrong with an endpoint of the server's.
func (cl *client) checkEndpoint(name, rawURL string) error {
	if rawURL == "" {
		return fmt.Errorf("login: the server has no %s; see Config.Metadata", name)
	}
	call := endpoint.Call{Field: "the " + name, URL: rawURL, InsecureHTTP: cl.refresher.InsecureHTTP}
	if err := call.Check(); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	if redact.Clean(rawURL, len(rawURL)) != rawURL { // a person may see it, in a terminal
		return fmt.Errorf("login: the %s has a character in it that does not print", name)
	}
	return nil
}

// callTimeout bounds each call of the server, as RefreshTimeout does for a session.
const callTimeout = 20 * time.Second

// exchange makes a call of the token endpoint.
func (cl *client) exchange(ctx context.Context, params url.Values) (*tokenclient.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return cl.refresher.Login(ctx, params)
}

// hand makes t the session's token. If that fails nobody will ever use t.
func (cl *client) hand(ctx context.Context, s *tokenclient.Session, t *tokenclient.Token) error {
	if err := s.SetToken(ctx, t); err != nil {
		return errors.Join(fmt.Errorf("login: %w", err), cl.revoke(ctx, t))
	}
	return nil
}

// revokeTimeout is how long a login goes on after its context has ended.
const revokeTimeout = 5 * time.Second

// revoke tells the server that t is not needed, also if ctx has ended.
func (cl *client) revoke(ctx context.Context, t *tokenclient.Token) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if err := cl.refresher.Revoke(ctx, t); err != nil {
		return fmt.Errorf("login: the token was not revoked: %w", err)
	}
	return nil
}

// hasScope reports whether a list of scopes has one.
func hasScope(list, scope string) bool {
	for s := range strings.FieldsSeq(list) {
		if s == scope {
			return true
		}
	}
	return false
}
