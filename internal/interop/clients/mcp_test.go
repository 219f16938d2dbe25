package clients_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

// sessionHandler serves the SDK's OAuth handler by a Session: it refreshes, and it has login
// ask the user if only that helps, one at a time.
//
// A program that has no user to ask needs no handler:
//
//	transport := &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: session.Client()}
type sessionHandler struct {
	session *tokenclient.Session
	login   func(ctx context.Context, refused *http.Response) (*tokenclient.Token, error)
	asking  chan struct{} // holds one element while login runs; make it with room for one
}

var _ auth.OAuthHandler = (*sessionHandler)(nil)

// TokenSource implements auth.OAuthHandler. Without a token the request goes without, so that
// the server says how to log in, and Authorize hears of it.
func (h *sessionHandler) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	t, err := h.session.Token(ctx)
	if errors.Is(err, tokenclient.ErrLoginRequired) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t.RefreshToken = "" // the session's own
	return oauth2.StaticTokenSource(xoauth2.ToToken(t)), nil
}

// Authorize implements auth.OAuthHandler. A 403 that asks for no wider scope is returned as
// it is, after the SDK's second try.
func (h *sessionHandler) Authorize(ctx context.Context, req *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	wider := false
	for _, c := range tokenclient.Challenges(resp) {
		wider = wider || c.Params["error"] == "insufficient_scope"
	}
	if resp.StatusCode == http.StatusForbidden && !wider {
		return nil
	}
	if again, err := h.another(ctx, req, !wider); again || err != nil {
		return err
	}
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if again, err := h.another(ctx, req, false); again || err != nil { // somebody was asked meanwhile
		return err
	}
	t, err := h.login(ctx, resp)
	if err != nil {
		return err
	}
	return h.session.SetToken(ctx, t)
}

// another reports whether there is another token than that of req by now. It may refresh.
func (h *sessionHandler) another(ctx context.Context, req *http.Request, refresh bool) (bool, error) {
	t, err := h.session.Peek(ctx)
	if err == nil && "Bearer "+t.AccessToken == req.Header.Get("Authorization") {
		if !refresh {
			return false, nil
		}
		_, err = h.session.RefreshRejected(ctx, t)
	}
	if errors.Is(err, tokenclient.ErrLoginRequired) {
		return false, nil
	}
	return err == nil, err
}

// mcpRig is the SDK's own server, with the SDK's own judge of tokens, and its own client over
// a sessionHandler.
type mcpRig struct {
	srv     *tokentest.Server
	session *tokenclient.Session
	client  *mcp.ClientSession
	url     string
	logins  atomic.Int32
}

type saying struct {
	Text string `json:"text"`
}

func newMCPRig(t *testing.T) *mcpRig {
	t.Helper()
	r := new(mcpRig)
	server := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in saying) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	verify := func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		if !good(ctx, r.srv, token) {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{Expiration: time.Now().Add(time.Hour), UserID: "alice"}, nil
	}
	api := httptest.NewServer(auth.RequireBearerToken(verify, nil)(
		mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)))
	t.Cleanup(api.Close)
	r.url = api.URL
	r.session, r.srv = newSession(t, nil, api.URL)
	handler := &sessionHandler{
		session: r.session,
		login: func(context.Context, *http.Response) (*tokenclient.Token, error) {
			r.logins.Add(1)
			return r.srv.Issue("alice"), nil
		},
		asking: make(chan struct{}, 1),
	}
	client, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: api.URL, OAuthHandler: handler, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	r.client = client
	return r
}

func (r *mcpRig) echo(ctx context.Context) error {
	result, err := r.client.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: saying{"hello"}})
	if err != nil {
		return err
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != "hello" {
		return errors.New("another answer")
	}
	return nil
}

// want checks how often there was a login and a refresh since the last time.
func (r *mcpRig) want(t *testing.T, logins, refreshes int) {
	t.Helper()
	if n := int(r.logins.Load()); n != logins {
		t.Errorf("%d logins, want %d", n, logins)
	}
	if n := r.srv.Counters().Refreshes; n != refreshes {
		t.Errorf("%d refreshes, want %d", n, refreshes)
	}
}

// TestMCP: the SDK's client against the SDK's server: a token that is refused is refreshed and
// nobody is asked; a refresh token that is refused is a login; a logout, too.
func TestMCP(t *testing.T) {
	r := newMCPRig(t)
	echo := func(what string) {
		t.Helper()
		if err := r.echo(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	echo("logged in")
	r.want(t, 0, 0)
	r.srv.RevokeAccess("alice")
	echo("access token revoked")
	r.want(t, 0, 1)
	r.srv.RevokeAll("alice")
	echo("everything revoked")
	r.want(t, 1, 2)
	if err := r.session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo("logged out")
	r.want(t, 2, 2)
}

// TestMCPTogether: many calls that are refused at once are one refresh, or one login.
func TestMCPTogether(t *testing.T) {
	r := newMCPRig(t)
	crowd := func(what string) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := r.echo(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wg.Wait()
	}
	r.srv.RevokeAccess("alice")
	crowd("access token revoked")
	r.want(t, 0, 1)
	r.srv.RevokeAll("alice")
	crowd("everything revoked")
	r.want(t, 1, 2)
}

// TestMCPForbidden: what the server forbids is no reason to ask the user, unless it asks for a
// wider scope.
func TestMCPForbidden(t *testing.T) {
	session, srv := newSession(t, nil)
	asked := 0
	h := &sessionHandler{session: session, asking: make(chan struct{}, 1), login: func(context.Context, *http.Response) (*tokenclient.Token, error) {
		asked++
		return srv.Issue("alice"), nil
	}}
	for challenge, want := range map[string]int{"": 0, `Bearer error="insufficient_scope", scope="write"`: 1} {
		asked = 0
		now, err := session.Peek(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodPost, "https://mcp.example.com/", nil)
		req.Header.Set("Authorization", "Bearer "+now.AccessToken)
		resp := &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Www-Authenticate": {challenge}}, Body: http.NoBody}
		if err := h.Authorize(t.Context(), req, resp); err != nil || asked != want {
			t.Errorf("%q: asked %d times, error %v", challenge, asked, err)
		}
	}
	if n := srv.Counters().Refreshes; n != 0 {
		t.Errorf("%d refreshes", n)
	}
}

// TestMCPWithoutHandler: where nobody can be asked, the session's client is all that it takes.
func TestMCPWithoutHandler(t *testing.T) {
	r := newMCPRig(t)
	client, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: r.url, HTTPClient: r.session.Client(),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r.client = client
	r.srv.RevokeAccess("alice")
	if err := r.echo(t.Context()); err != nil {
		t.Error(err)
	}
	r.want(t, 0, 1)
}
