package login_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A rig is a server, and a program that logs in there.
type rig struct {
	*tokentest.Server
	refresher *tokenclient.OAuth2Refresher
	session   *tokenclient.Session
	config    login.Config // its Prompt is for the test

	mu    sync.Mutex
	forms []url.Values // what was sent to the token endpoint
}

func newRig(t *testing.T, o *tokentest.Options) *rig {
	t.Helper()
	r := &rig{Server: tokentest.NewServer(t, o)}
	r.Approve("alice")
	md, err := (&discovery.Client{HTTPClient: r.Client()}).Find(t.Context(), r.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := r.Client().Transport
	r.refresher = &tokenclient.OAuth2Refresher{
		TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: tokenclient.PublicClient("app"),
		HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(req.Body)
			_ = req.Body.Close()
			form, _ := url.ParseQuery(string(body))
			if req.URL.Path == "/oauth/token" {
				r.mu.Lock()
				r.forms = append(r.forms, form)
				r.mu.Unlock()
			}
			again := req.Clone(req.Context())
			again.Body = io.NopCloser(strings.NewReader(string(body)))
			return base.RoundTrip(again)
		})},
	}
	r.session, err = tokenclient.New(tokenclient.Config{Refresher: r.refresher, Origins: []string{r.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessiontest.Close(t, r.session) })
	r.config = login.Config{Refresher: r.refresher, Metadata: md}
	return r
}

// browse is Browser with a person who does that.
func (r *rig) browse(ctx context.Context, do func(login.Prompt) error) error {
	c := r.config
	c.Prompt = func(_ context.Context, p login.Prompt) error { return do(p) }
	return login.Browser(ctx, r.session, c)
}

// sent is what the token endpoint got so far.
func (r *rig) sent() []url.Values {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]url.Values(nil), r.forms...)
}

// wantLogin fails the test unless the session is logged in.
func (r *rig) wantLogin(t *testing.T) {
	t.Helper()
	resp, err := r.session.Wrap(r.Client()).Get(r.URL + "/api/things")
	if err != nil {
		t.Error(err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

// wantNoLogin fails the test if the session is logged in.
func (r *rig) wantNoLogin(t *testing.T) {
	t.Helper()
	if token, err := r.session.Token(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("the session has %v, %v", token, err)
	}
}

// A page is what a browser shows.
type page struct {
	status int
	header http.Header
	at     *url.URL
	text   string
}

// fetch is a browser that opens an address, and goes where it is sent.
func fetch(address string) (*page, error) { return fetchBy(http.MethodGet, address, true) }

func fetchBy(method, address string, follow bool) (*page, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Transport: transport}
	if !follow {
		browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	req, err := http.NewRequest(method, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := browser.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return &page{resp.StatusCode, resp.Header, resp.Request.URL, string(text)}, err
}

// answerOf returns where the server sends the browser, who has approved or not.
func answerOf(address string) (*url.URL, error) {
	p, err := fetchBy(http.MethodGet, address, false)
	if err != nil {
		return nil, err
	}
	if p.header.Get("Location") == "" {
		return nil, errors.New("the server sends the browser nowhere: " + p.text)
	}
	return url.Parse(p.header.Get("Location"))
}

// portOf is where the answer of a login goes.
func portOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.Parse(u.Query().Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	return back.Host
}

// wantClosed fails the test if somebody listens there.
func wantClosed(t *testing.T, host string) {
	t.Helper()
	if c, err := net.Dial("tcp", host); err == nil {
		_ = c.Close()
		t.Errorf("%s is still open", host)
	}
}

// deviceMetadata is of a server that has device codes.
func deviceMetadata(endpoint string) *discovery.Metadata {
	return &discovery.Metadata{DeviceAuthorizationEndpoint: endpoint}
}
