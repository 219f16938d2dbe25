package login_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// TestPromptFails: a Prompt that fails ends the login, however it does that, and one that hangs holds
// up nothing. After the login its error does not count.
func TestPromptFails(t *testing.T) {
	planned := errors.New("no terminal")
	for _, c := range []struct {
		name string
		do   func(context.Context, login.Prompt) error
		says string
		is   error
	}{
		{"error", func(context.Context, login.Prompt) error { return planned }, "login: Config.Prompt: no terminal", planned},
		{"panic", func(context.Context, login.Prompt) error { panic("planted") }, "login: Config.Prompt panicked", nil},
		{"Goexit", func(context.Context, login.Prompt) error { runtime.Goexit(); return nil }, "login: Config.Prompt called runtime.Goexit", nil},
	} {
		r := newRig(t, nil)
		r.config.Prompt = c.do
		wantPromptError(t, "Browser, "+c.name, login.Browser(t.Context(), r.session, r.config), c.says, c.is)
		r.wantNoLogin(t)
		synctest.Test(t, func(t *testing.T) {
			r := newMemoryRig(t)
			r.config.Prompt = c.do
			wantPromptError(t, "Device, "+c.name, login.Device(t.Context(), r.session, r.config), c.says, c.is)
			r.wantNoLogin(t)
		})
	}

	r := newRig(t, nil)
	hangs, left := make(chan struct{}), make(chan struct{})
	r.config.Prompt = func(ctx context.Context, p login.Prompt) error {
		defer close(left)
		if _, err := fetch(p.URL); err != nil {
			t.Error(err)
		}
		<-ctx.Done() // the login is over
		<-hangs
		return planned
	}
	if err := login.Browser(t.Context(), r.session, r.config); err != nil {
		t.Error(err)
	}
	close(hangs)
	<-left
	r.wantLogin(t)
}

func wantPromptError(t *testing.T, name string, err error, says string, is error) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), says) || is != nil && !errors.Is(err, is) || strings.Contains(err.Error(), "planted") {
		t.Errorf("%s: %v", name, err)
	}
}

// TestPromptFailsLate: what a Prompt says after the answer is there changes nothing.
func TestPromptFailsLate(t *testing.T) {
	for range 10 {
		r := newRig(t, nil)
		shown := make(chan error, 1)
		err := r.browse(t.Context(), func(p login.Prompt) error {
			to, err := answerOf(p.URL)
			if err != nil {
				return err
			}
			if _, err := fetchBy(http.MethodGet, to.String(), false); err != nil {
				return err
			}
			go func() { _, err := fetch(strings.TrimSuffix(to.String(), "?"+to.RawQuery)); shown <- err }()
			return errors.New("the browser has gone")
		})
		if shownErr := <-shown; err != nil || shownErr != nil {
			t.Fatalf("%v, %v", err, shownErr)
		}
		r.wantLogin(t)
	}
}

// failingStore has no room.
type failingStore struct{ tokenclient.Store }

var errFull = errors.New("full")

func (failingStore) Load(context.Context, string) (tokenclient.Record, error) {
	return tokenclient.Record{}, tokenclient.ErrNoToken
}
func (failingStore) Replace(context.Context, string, *tokenclient.Token) (tokenclient.Record, tokenclient.Record, error) {
	return tokenclient.Record{}, tokenclient.Record{}, fmt.Errorf("%w: %w", tokenclient.ErrStoreUnavailable, errFull)
}

// TestNotStored: a token that cannot be stored is revoked, since nobody will ever use it, and
// the page does not say that somebody is logged in.
func TestNotStored(t *testing.T) {
	r := newRig(t, nil)
	var err error
	r.session, err = tokenclient.New(tokenclient.Config{Refresher: r.refresher, Origins: []string{r.URL}, Store: failingStore{}, Key: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	defer sessiontest.Close(t, r.session)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = r.browse(ctx, func(p login.Prompt) error {
		shown, err := fetch(p.URL)
		if err == nil && !strings.Contains(shown.text, "has failed") {
			t.Errorf("the page is %+v", shown)
		}
		return err
	})
	if !errors.Is(err, errFull) || !errors.Is(err, tokenclient.ErrStoreUnavailable) || r.Counters().Revocations != 1 {
		t.Errorf("%v, %d revocations", err, r.Counters().Revocations)
	}
	r.config.Prompt = func(context.Context, login.Prompt) error { return nil }
	if err := login.Device(ctx, r.session, r.config); !errors.Is(err, errFull) || r.Counters().Revocations != 2 {
		t.Errorf("%v, %d revocations", err, r.Counters().Revocations)
	}
}

// An endpointRig is a login whose token endpoint, and device authorization endpoint, is a
// function. The browser brings a code at once.
type endpointRig struct {
	refresher *tokenclient.OAuth2Refresher
	session   *tokenclient.Session
	config    login.Config
	asked     url.Values // the authorization request
}

func newEndpointRig(t *testing.T, answer sessiontest.RoundTrip) *endpointRig {
	t.Helper()
	r := &endpointRig{refresher: &tokenclient.OAuth2Refresher{
		TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.ClientSecretPost("app", "planted-client-secret"),
		HTTPClient: &http.Client{Transport: answer},
	}}
	var err error
	if r.session, err = tokenclient.New(tokenclient.Config{Refresher: r.refresher, Origins: []string{"https://api.example.com"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessiontest.Close(t, r.session) })
	r.config = login.Config{
		Refresher: r.refresher,
		Metadata:  &discovery.Metadata{AuthorizationEndpoint: "https://auth.example.com/authorize?tenant=x", DeviceAuthorizationEndpoint: "https://auth.example.com/device"},
		Prompt: func(_ context.Context, p login.Prompt) error {
			if p.UserCode != "" {
				return nil
			}
			u, err := url.Parse(p.URL)
			if err != nil {
				return err
			}
			r.asked = u.Query()
			q := url.Values{"state": {r.asked.Get("state")}, "code": {"planted-code-of-some-length"}}
			_, err = fetch(r.asked.Get("redirect_uri") + "?" + q.Encode())
			return err
		},
	}
	return r
}

// said is an answer. Of the request "%s" is what was sent.
func said(status int, body string) sessiontest.RoundTrip {
	return func(req *http.Request) (*http.Response, error) {
		sent, _ := io.ReadAll(req.Body)
		_ = req.Body.Close()
		form, _ := url.ParseQuery(string(sent))
		text := strings.NewReplacer("%code", form.Get("code"), "%verifier", form.Get("code_verifier"), "%secret", form.Get("client_secret"), "%device", form.Get("device_code")).Replace(body)
		return &http.Response{StatusCode: status, Request: req, Header: http.Header{"Content-Type": {"application/json"}, "Location": {"https://x.example/?" + string(sent)}},
			Body: io.NopCloser(strings.NewReader(text))}, nil
	}
}

// TestTokenEndpointFails: a token endpoint that answers garbage, and one that quotes what it
// was sent. The code is sent once, and nothing secret is shown.
func TestTokenEndpointFails(t *testing.T) {
	for name, c := range map[string]struct {
		answer sessiontest.RoundTrip
		says   string
	}{
		"nothing":           {said(200, ""), "status 200: answer is empty"},
		"a page":            {said(200, "<html>%code</html>"), "answer is HTML"},
		"cut":               {said(200, `{"access_token":"planted`), "cut off"},
		"no token":          {said(200, `{"id_token":"x"}`), "no access_token"},
		"too long":          {said(200, `{"x":"`+strings.Repeat("y", 2<<20)+`"}`), "longer than 1 MiB"},
		"a redirect":        {said(307, ""), "refusing to follow"},
		"an outage":         {said(503, "%code"), "status 503"},
		"quotes the code":   {said(400, `{"error":"invalid_grant","error_description":"no code %code"}`), "invalid_grant ([redacted])"},
		"quotes verifier":   {said(400, `{"error":"%verifier","error_description":"x"}`), "[redacted]"},
		"quotes secret":     {said(401, `{"error":"invalid_client","error_description":"%secret"}`), "invalid_client ([redacted])"},
		"control character": {said(200, `{"access_token":"planted\u0001"}`), "status 200"},
		"no connection":     {func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, "unexpected EOF"},
	} {
		calls := 0
		r := newEndpointRig(t, func(req *http.Request) (*http.Response, error) { calls++; return c.answer(req) })
		err := login.Browser(t.Context(), r.session, r.config)
		if _, ok := errors.AsType[*tokenclient.TokenError](err); !ok || !strings.Contains(err.Error(), c.says) || calls != 1 {
			t.Errorf("%s: %v after %d calls, want %q", name, err, calls, c.says)
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "planted") {
			t.Errorf("%s: shown: %s", name, text)
		}
		if r.asked.Get("tenant") != "x" {
			t.Errorf("%s: the query of the endpoint is gone: %v", name, r.asked)
		}
	}
}

// TestNonce: an ID token has to be of this login, if it was asked for.
func TestNonce(t *testing.T) {
	idToken := func(payload string) string {
		part := base64.RawURLEncoding.EncodeToString
		return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(payload)) + "." + part([]byte("signature"))
	}
	for _, c := range []struct {
		name, scope, own string
		idToken          func(nonce string) any
		bad              bool
	}{
		{"its own", "openid email", "", func(n string) any { return idToken(`{"nonce":"` + n + `"}`) }, false},
		{"another's", "openid", "", func(string) any { return idToken(`{"nonce":"x"}`) }, true},
		{"none", "email openid", "", func(string) any { return idToken(`{"sub":"alice"}`) }, true},
		{"no string", "openid", "", func(string) any { return idToken(`{"nonce":1}`) }, true},
		{"no JWT", "openid", "", func(string) any { return "x" }, true},
		{"no JSON", "openid", "", func(string) any { return idToken("x") }, true},
		{"encrypted", "openid", "", func(string) any { return "a.b.c.d.e" }, false},
		{"no ID token", "openid", "", func(string) any { return nil }, false},
		{"the program's", "openid", "mine", func(string) any { return idToken(`{"nonce":"mine"}`) }, false},
		{"not the program's", "openid", "mine", func(string) any { return idToken(`{"nonce":"x"}`) }, true},
		{"the program's, without the scope", "", "mine", func(string) any { return idToken(`{}`) }, true},
		{"not asked for", "openidx", "", func(string) any { return idToken(`{"nonce":"x"}`) }, false},
	} {
		var r *endpointRig
		revoked := false
		r = newEndpointRig(t, func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/revoke" {
				revoked = true
				return said(200, "")(req)
			}
			extra := ""
			if id := c.idToken(r.asked.Get("nonce")); id != nil {
				extra = fmt.Sprintf(`,"id_token":%q`, id)
			}
			return said(200, `{"access_token":"a","refresh_token":"r","expires_in":60`+extra+`}`)(req)
		})
		r.refresher.RevocationURL = "https://auth.example.com/revoke"
		r.config.Scope = c.scope
		if c.own != "" {
			r.config.Params = url.Values{"nonce": {c.own}}
		}
		err := login.Browser(t.Context(), r.session, r.config)
		_, ok := errors.AsType[*login.ResponseError](err)
		if (err != nil) != c.bad || ok != c.bad || revoked != c.bad || r.asked.Has("nonce") != (c.own != "" || strings.Contains(c.scope+" ", "openid ")) {
			t.Errorf("%s: %v, revoked: %v, nonce %q", c.name, err, revoked, r.asked["nonce"])
		}
		if token, err := r.session.Peek(t.Context()); !c.bad && (err != nil || token.Extra["id_token"] != c.idToken(r.asked.Get("nonce"))) {
			t.Errorf("%s: the session has %v, %v", c.name, token, err)
		}
	}
}

// TestMistakes: what can never work is said before anybody is asked, by the field.
func TestMistakes(t *testing.T) {
	r := newRig(t, nil)
	oauth2 := func(change func(*tokenclient.OAuth2Refresher)) func(*login.Config) {
		return func(c *login.Config) { other := *r.refresher; change(&other); c.Refresher = &other }
	}
	params := func(name, value string) func(*login.Config) {
		return func(c *login.Config) { c.Params = url.Values{name: {value}} }
	}
	metadata := func(change func(*discovery.Metadata)) func(*login.Config) {
		return func(c *login.Config) { md := *c.Metadata; change(&md); c.Metadata = &md }
	}
	found := func(made tokenclient.Refresher) func(*login.Config) {
		return func(c *login.Config) {
			c.Metadata = nil
			c.Refresher = &discovery.Refresher{Issuer: r.URL, Make: func(*discovery.Metadata) tokenclient.Refresher { return made }}
		}
	}
	type mistake struct {
		name   string
		change func(*login.Config)
		says   string
	}
	both := []mistake{
		{"no refresher", func(c *login.Config) { c.Refresher = nil }, "Config.Refresher is nil"},
		{"another refresher", func(c *login.Config) { c.Refresher = &tokenclient.JSONRefresher{} }, "Config.Refresher is a *tokenclient.JSONRefresher"},
		{"a nil refresher", func(c *login.Config) { c.Refresher = (*tokenclient.OAuth2Refresher)(nil) }, "the *OAuth2Refresher is nil"},
		{"a nil discovery", func(c *login.Config) { c.Metadata, c.Refresher = nil, (*discovery.Refresher)(nil) }, "the *discovery.Refresher is nil"},
		{"no metadata", func(c *login.Config) { c.Metadata = nil }, "Config.Metadata is nil"},
		{"metadata twice", func(c *login.Config) { md := c.Metadata; found(r.refresher)(c); c.Metadata = md }, "Config.Metadata is set beside"},
		{"made another", found(tokenclient.RefresherFunc(nil)), "Make returned a tokenclient.RefresherFunc"},
		{"no token endpoint", oauth2(func(o *tokenclient.OAuth2Refresher) { o.TokenURL = "" }), "TokenURL is empty"},
		{"no client", oauth2(func(o *tokenclient.OAuth2Refresher) { o.ClientAuth = nil }), "ClientAuth is nil"},
		{"nobody", oauth2(func(o *tokenclient.OAuth2Refresher) { o.ClientAuth = clientauth.NoClient() }), "the ClientAuth names no client"},
		{"without a name", oauth2(func(o *tokenclient.OAuth2Refresher) { o.ClientAuth = struct{ tokenclient.ClientAuth }{o.ClientAuth} }), "has no method ClientID() string"},
		{"client_id", params("client_id", "x"), "must not hold client_id"},
		{"state", params("state", "x"), "must not hold state"},
		{"redirect_uri", params("redirect_uri", "x"), "must not hold redirect_uri"},
		{"response_type", params("response_type", "x"), "must not hold response_type"},
		{"code_challenge", params("code_challenge", "x"), "must not hold code_challenge"},
		{"plain", params("code_challenge_method", "plain"), "must not hold code_challenge_method"},
		{"dpop_jkt", params("dpop_jkt", "x"), "must not hold dpop_jkt"},
		{"scope", params("scope", "x"), "set Config.Scope"},
		{"two nonces", func(c *login.Config) { c.Params = url.Values{"nonce": {"a", "b"}} }, "nonce twice"},
		{"form_post", params("response_mode", "form_post"), "must not hold response_mode"},
		{"a line break", func(c *login.Config) { c.Scope = "openid\n" }, "Config.Scope has a control character"},
	}
	redirect := func(u string) func(*login.Config) { return func(c *login.Config) { c.RedirectURL = u } }
	browser := append([]mistake{
		{"no endpoint", metadata(func(md *discovery.Metadata) { md.AuthorizationEndpoint = "" }), "the server has no AuthorizationEndpoint"},
		{"plain http", metadata(func(md *discovery.Metadata) { md.AuthorizationEndpoint = "http://auth.example.com/" }), "the AuthorizationEndpoint is plain http"},
		{"no URL", metadata(func(md *discovery.Metadata) { md.AuthorizationEndpoint = "javascript:alert(1)" }), "the AuthorizationEndpoint does not begin"},
		{"for a terminal", metadata(func(md *discovery.Metadata) { md.AuthorizationEndpoint = "https://auth.example.com/\u009b2J" }), "the AuthorizationEndpoint has a character in it that does not print"},
		{"host for a terminal", metadata(func(md *discovery.Metadata) { md.AuthorizationEndpoint = "https://auth\u202e.example.com/" }), "that does not print"},
		{"no UTF-8", metadata(func(md *discovery.Metadata) { md.AuthorizationEndpoint = "https://auth.example.com/\x9b2J" }), "that does not print"},
		{"https", redirect("https://127.0.0.1/"), "does not begin with http://"},
		{"a scheme", redirect("com.example.app:/cb"), "does not begin with http://"},
		{"a relative one", redirect("/cb"), "does not begin with http://"},
		{"another machine", redirect("http://example.com/"), "has a host other than"},
		{"all addresses", redirect("http://0.0.0.0/"), "has a host other than"},
		{"no host", redirect("http:///cb"), "has a host other than"},
		{"a zone", redirect("http://[::1%25lo]/"), "has a host other than"},
		{"a user", redirect("http://a@127.0.0.1/"), "has user information"},
		{"a query", redirect("http://127.0.0.1/?a=b"), "has a query or a fragment"},
		{"an empty query", redirect("http://127.0.0.1/?"), "has a query or a fragment"},
		{"a fragment", redirect("http://127.0.0.1/#x"), "has a query or a fragment"},
		{"a port", redirect("http://127.0.0.1:65536/"), "has a port that is not one"},
		{"an empty port", redirect("http://127.0.0.1:/"), "has a port that is not one"},
		{"no URL", redirect("http://127.0.0.1:x/"), "is not a URL"},
	}, both...)
	device := append([]mistake{
		{"no endpoint", metadata(func(md *discovery.Metadata) { md.DeviceAuthorizationEndpoint = "" }), "the server has no DeviceAuthorizationEndpoint"},
		{"plain http", metadata(func(md *discovery.Metadata) { md.DeviceAuthorizationEndpoint = "http://auth.example.com/" }), "the DeviceAuthorizationEndpoint is plain http"},
	}, both...)
	try := func(list []mistake, begin func(context.Context, *tokenclient.Session, login.Config) error) {
		for _, c := range list {
			conf := r.config
			conf.Prompt = func(context.Context, login.Prompt) error { t.Error("somebody was asked"); return nil }
			c.change(&conf)
			if err := begin(t.Context(), r.session, conf); err == nil || !strings.HasPrefix(err.Error(), "login: ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", c.name, err, c.says)
			}
		}
		if err := begin(t.Context(), nil, r.config); err == nil || !strings.Contains(err.Error(), "Session is nil") {
			t.Error(err)
		}
	}
	try(browser, login.Browser)
	try(device, login.Device)

	down := &discovery.Refresher{Issuer: "http://127.0.0.1:1", Make: func(*discovery.Metadata) tokenclient.Refresher { return r.refresher }}
	if err := login.Browser(t.Context(), r.session, login.Config{Refresher: down}); err == nil || !strings.Contains(err.Error(), "no metadata of the issuer") {
		t.Errorf("a server that is down: %v", err)
	}
	if n := len(r.sent()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// TestConfigIsKept: a login changes nothing of its Config, so that one may serve several.
func TestConfigIsKept(t *testing.T) {
	r := newRig(t, nil)
	r.refresher.Params = url.Values{"resource": {"https://a/"}}
	r.config.Scope, r.config.Params = "openid", url.Values{"prompt": {"login"}}
	before := fmt.Sprintf("%+v %v", *r.config.Metadata, r.config.Params)
	for range 2 {
		if err := r.browse(t.Context(), func(p login.Prompt) error { _, err := fetch(p.URL); return err }); err != nil {
			t.Fatal(err)
		}
	}
	r.config.Timeout = time.Hour
	r.config.Prompt = func(context.Context, login.Prompt) error { return nil }
	if err := login.Device(t.Context(), r.session, r.config); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprintf("%+v %v", *r.config.Metadata, r.config.Params); after != before {
		t.Errorf("%s has become %s", before, after)
	}
}
