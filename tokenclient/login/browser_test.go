package login_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const closing = "You are logged in. You can close this window."

// TestBrowser logs in by each kind of redirect URL. What comes back is what was asked for,
// and the browser is left with a page and an address that show nothing.
func TestBrowser(t *testing.T) {
	for _, c := range []struct{ redirect, want string }{
		{"", `^http://127\.0\.0\.1:[1-9]\d*/callback$`},
		{"http://127.0.0.1", `^http://127\.0\.0\.1:[1-9]\d*$`},
		{"http://127.0.0.1:0/", `^http://127\.0\.0\.1:[1-9]\d*/$`},
		{"http://[::1]/cb", `^http://\[::1\]:[1-9]\d*/cb$`},
		{"http://localhost/a/b%2Fc", `^http://localhost:[1-9]\d*/a/b%2Fc$`},
		{"http://127.0.0.1//example.com/", `^http://127\.0\.0\.1:[1-9]\d*//example\.com/$`},
	} {
		r := newRig(t, nil)
		r.config.RedirectURL, r.config.Scope, r.config.Params = c.redirect, "read write", url.Values{"prompt": {"login"}, "resource": {"https://a/", "https://b/"}}
		var asked url.Values
		var shown *page
		err := r.browse(t.Context(), func(p login.Prompt) (err error) {
			u, err := url.Parse(p.URL)
			if err != nil {
				return err
			}
			asked = u.Query()
			if left := time.Until(p.Expiry); left < 4*time.Minute || left > 5*time.Minute || p.UserCode != "" {
				t.Errorf("%+v", p)
			}
			shown, err = fetch(p.URL)
			return err
		})
		if err != nil || shown == nil {
			t.Fatalf("%s: %v", c.redirect, err)
		}
		r.wantLogin(t)
		redirect := asked.Get("redirect_uri")
		if !regexp.MustCompile(c.want).MatchString(redirect) {
			t.Errorf("%q has become %s", c.redirect, redirect)
		}
		if shown.status != 200 || !strings.Contains(shown.text, closing) || shown.at.String() != redirect {
			t.Errorf("%q: %d at %s:\n%s", c.redirect, shown.status, shown.at, shown.text)
		}
		wantQuiet(t, shown)
		wantAsked(t, asked, redirect, r.sent())
		u, _ := url.Parse(redirect)
		wantClosed(t, u.Host)
	}
}

// wantQuiet: a page keeps, loads and passes on nothing.
func wantQuiet(t *testing.T, p *page) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Content-Type": "text/html; charset=utf-8",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	if regexp.MustCompile(`(?i)script|src=|href=|style|[?&]code=|state`).MatchString(p.text) {
		t.Errorf("the page has more than a text:\n%s", p.text)
	}
}

// wantAsked: the authorization request and the token request go together.
func wantAsked(t *testing.T, asked url.Values, redirect string, sent []url.Values) {
	t.Helper()
	if len(sent) != 1 {
		t.Fatalf("the token endpoint was called %d times", len(sent))
	}
	form := sent[0]
	verifier := form.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); asked.Get("code_challenge") != want || asked.Get("code_challenge_method") != "S256" || len(verifier) < 43 {
		t.Errorf("the challenge is %v, the verifier %q", asked, verifier)
	}
	for name, want := range map[string][]string{
		"response_type": {"code"}, "client_id": {"app"}, "scope": {"read write"}, "prompt": {"login"}, "resource": {"https://a/", "https://b/"},
	} {
		if got := asked[name]; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("asked for %s %q, want %q", name, got, want)
		}
	}
	if state := asked.Get("state"); len(state) < 22 || asked.Has("nonce") || asked.Has("response_mode") {
		t.Errorf("asked for %v", asked)
	}
	if form.Get("redirect_uri") != redirect || form.Get("grant_type") != "authorization_code" || form.Get("client_id") != "app" || len(form) != 5 {
		t.Errorf("sent %v", form)
	}
}

// TestBrowserFinds: a discovery.Refresher is all that a login needs, of both kinds; and the
// client authentication is that of the session, whatever it is.
func TestBrowserFinds(t *testing.T) {
	for _, c := range []struct {
		secret string
		auth   tokenclient.ClientAuth
	}{
		{"", tokenclient.PublicClient("app")},
		{"s3cr3t", tokenclient.ClientSecretBasic("app", "s3cr3t")},
		{"s3cr3t", tokenclient.ClientSecretPost("app", "s3cr3t")},
		{"s3cr3t", clientauth.PlainBasic("app", "s3cr3t")},
		{"", namedClient{tokenclient.PublicClient("app")}},
	} {
		t.Run(fmt.Sprint(c.auth), func(t *testing.T) {
			t.Parallel()
			testFinds(t, c.secret, c.auth)
		})
	}
}

func testFinds(t *testing.T, secret string, auth tokenclient.ClientAuth) {
	srv := tokentest.NewServer(t, &tokentest.Options{ClientSecret: secret})
	srv.Approve("alice")
	found := &discovery.Refresher{Issuer: srv.URL, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: auth, Scope: "read", Params: url.Values{"resource": {"https://a/"}, "api_key": {"planted"}}}
	}}
	s, err := tokenclient.New(tokenclient.Config{Refresher: found, Origins: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer sessiontest.Close(t, s)
	c := login.Config{Refresher: found, Prompt: func(_ context.Context, p login.Prompt) error {
		u, _ := url.Parse(p.URL)
		if q := u.Query(); q.Get("client_id") != "app" || q.Get("scope") != "read" || q.Get("resource") != "https://a/" || strings.Contains(p.URL, "planted") {
			t.Errorf("asked for %v", q)
		}
		_, err := fetch(p.URL)
		return err
	}}
	err = login.Browser(t.Context(), s, c)
	first, tokenErr := s.Token(t.Context())
	if err != nil || tokenErr != nil {
		t.Fatalf("%v, %v", err, tokenErr)
	}
	c.Prompt = func(context.Context, login.Prompt) error { return nil }
	err = login.Device(t.Context(), s, c)
	if second, tokenErr := s.Token(t.Context()); err != nil || tokenErr != nil || second.AccessToken == first.AccessToken {
		t.Errorf("by device code: %v, %v", err, tokenErr)
	}
}

// A namedClient is a program's own ClientAuth.
type namedClient struct{ tokenclient.ClientAuth }

func (namedClient) ClientID() string { return "app" }

// TestBrowserAnswers: what may come back, of which all but the first is no login. The answer
// is the server's own, changed on the way.
func TestBrowserAnswers(t *testing.T) {
	set := func(name string, values ...string) func(url.Values) {
		return func(q url.Values) { q[name] = values }
	}
	refused := func(name, value string) func(url.Values) {
		return func(q url.Values) { q.Del("code"); q.Set("error", name); q.Set("error_description", value) }
	}
	for _, c := range []struct {
		name   string
		change func(url.Values)
		page   string
		says   string // "": it is a login
		kind   error
	}{
		{"as it came", func(url.Values) {}, closing, "", nil},
		{"more than is known", set("session_state", "x"), closing, "", nil},
		{"no issuer", func(q url.Values) { q.Del("iss") }, "has failed", "has no iss, and the server", nil},
		{"an empty issuer", set("iss", ""), "has failed", "has no iss", nil},
		{"another issuer", set("iss", "https://attacker.example"), "has failed", `is from the issuer "https://attacker.example", and not from http://127.0.0.1`, nil},
		{"an issuer with a slash", func(q url.Values) { q.Set("iss", q.Get("iss")+"/") }, "has failed", "is from the issuer", nil},
		{"an issuer in capitals", func(q url.Values) { q.Set("iss", strings.ToUpper(q.Get("iss"))) }, "has failed", "is from the issuer", nil},
		{"two issuers", func(q url.Values) { q["iss"] = append(q["iss"], q["iss"]...) }, "has failed", "has iss more than once", nil},
		{"an issuer that does not print", set("iss", "https://a\x1b[2J"), "has failed", `"https://a[2J"`, nil},
		{"two codes", func(q url.Values) { q["code"] = append(q["code"], "x") }, "has failed", "has code more than once", nil},
		{"no code", func(q url.Values) { q.Del("code") }, "has failed", "has neither a code nor an error", nil},
		{"an empty code", set("code", ""), "has failed", "has neither a code nor an error", nil},
		{"a code of other characters", set("code", "x\ny"), "has failed", "has a code with a character", nil},
		{"another code", set("code", "x"), "has failed", "status 400: invalid_grant", nil},
		{"denied", refused("access_denied", "the user said no"), "was refused", "answered access_denied (the user said no)", login.ErrDenied},
		{"denied by another issuer", func(q url.Values) { refused("access_denied", "")(q); q.Set("iss", "https://x") }, "has failed", "is from the issuer", nil},
		{"an error and a code", set("error", "server_error"), "has failed", "answered server_error", nil},
		{"two errors", set("error", "a", "b"), "has failed", "has error more than once", nil},
		{"an error that echoes", func(q url.Values) { refused("x", "no state "+q.Get("state"))(q) }, "has failed", "answered x ([redacted])", nil},
		{"an error that does not print", refused("\x1b]0;x\a", "\x00\n"), "has failed", "answered ]0;x", nil},
		{"an error of nothing", refused("\x1b", ""), "has failed", "answered [redacted]", nil},
		{"a long error", refused("x", strings.Repeat("y", 5000)), "has failed", strings.Repeat("y", 200) + ")", nil},
	} {
		r := newRig(t, nil)
		var shown *page
		err := r.browse(t.Context(), func(p login.Prompt) error {
			to, err := answerOf(p.URL)
			if err != nil {
				return err
			}
			q := to.Query()
			c.change(q)
			to.RawQuery = q.Encode()
			shown, err = fetch(to.String())
			return err
		})
		switch {
		case shown == nil || shown.status != 200 || !strings.Contains(shown.text, c.page) || shown.at.RawQuery != "":
			t.Errorf("%s: the page is %+v", c.name, shown)
		case c.says == "" && err == nil:
			r.wantLogin(t)
			continue
		case err == nil || c.says == "" || !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		_, asResponse := errors.AsType[*login.ResponseError](err)
		_, asToken := errors.AsType[*tokenclient.TokenError](err)
		if asResponse == asToken || errors.Is(err, login.ErrDenied) != (c.kind == login.ErrDenied) || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%s: %#v", c.name, err)
		}
		wantQuiet(t, shown)
		r.wantNoLogin(t)
	}
}

// TestBrowserIssuer: what is asked of the issuer is what the metadata says of it.
func TestBrowserIssuer(t *testing.T) {
	for _, c := range []struct {
		name           string
		issuer, extra  string
		comes          string // "-": none
		wantAnswerless bool
	}{
		{"announced, and there", "https://a.example", "true", "https://a.example", false},
		{"announced, and not there", "https://a.example", "true", "-", true},
		{"not announced, and not there", "https://a.example", "", "-", false},
		{"denied, and not there", "https://a.example", "false", "-", false},
		{"not announced, and there", "https://a.example", "", "https://a.example", false},
		{"not announced, and another", "https://a.example", "", "https://b.example", true},
		{"denied, and another", "https://a.example", "false", "https://b.example", true},
		{"an announcement that is none", "https://a.example", `"x"`, "-", false},
		{"nothing known", "", "true", "https://b.example", false},
	} {
		r := newRig(t, nil)
		md := *r.config.Metadata
		md.Issuer = c.issuer
		md.Extra = nil
		if c.extra != "" {
			md.Extra = map[string]json.RawMessage{"authorization_response_iss_parameter_supported": json.RawMessage(c.extra)}
		}
		r.config.Metadata = &md
		err := r.browse(t.Context(), func(p login.Prompt) error {
			to, err := answerOf(p.URL)
			if err != nil {
				return err
			}
			q := to.Query()
			if q.Set("iss", c.comes); c.comes == "-" {
				q.Del("iss")
			}
			to.RawQuery = q.Encode()
			_, err = fetch(to.String())
			return err
		})
		if (err != nil) != c.wantAnswerless {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestBrowserStrangers: whoever finds the port, a page in a browser that tries out ports among
// them, gets nothing, ends nothing, and is not shown what others are.
func TestBrowserStrangers(t *testing.T) {
	r := newRig(t, nil)
	err := r.browse(t.Context(), func(p login.Prompt) error {
		to, err := answerOf(p.URL)
		if err != nil {
			return err
		}
		good := to.String()
		stray := func(change func(*url.URL, url.Values)) string {
			u, q := *to, to.Query()
			change(&u, q)
			u.RawQuery = q.Encode()
			return u.String()
		}
		for _, c := range []struct {
			method, address, host string
			status                int
		}{
			{"GET", stray(func(_ *url.URL, q url.Values) { q.Set("state", "x") }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { q.Set("state", q.Get("state")[1:]) }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { q.Set("state", strings.ToLower(q.Get("state"))) }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { q.Del("state") }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { q["state"] = append(q["state"], q["state"]...) }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { q["state"] = append(q["state"], "x") }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { clear(q); q.Set("error", "access_denied") }), "", 400},
			{"GET", stray(func(_ *url.URL, q url.Values) { clear(q) }), "", 404},
			{"GET", stray(func(u *url.URL, _ url.Values) { u.Path = "/" }), "", 404},
			{"GET", stray(func(u *url.URL, _ url.Values) { u.Path += "/" }), "", 404},
			{"GET", stray(func(u *url.URL, _ url.Values) { u.Path = "/x/../callback" }), "", 404},
			{"GET", stray(func(u *url.URL, _ url.Values) { u.Path = "/favicon.ico" }), "", 404},
			{"GET", good, "attacker.example", 404},
			{"GET", good, "localhost:" + to.Port(), 404},
			{"GET", good, "127.0.0.1", 404},
			{"HEAD", good, "", 404},
			{"POST", good, "", 404},
			{"OPTIONS", good, "", 404},
			{"TRACE", good, "", 404},
		} {
			req, err := http.NewRequest(c.method, c.address, nil)
			if err != nil {
				return err
			}
			req.Host = c.host
			req.Close = true
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != c.status || resp.Header.Get("Location") != "" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s of %q: %s, %v", c.method, c.address, c.host, resp.Status, resp.Header)
			}
		}
		shown, err := fetch(good)
		if err == nil && !strings.Contains(shown.text, closing) {
			t.Errorf("the page is %+v", shown)
		}
		return err
	})
	if err != nil || len(r.sent()) != 1 {
		t.Errorf("%v after %d calls", err, len(r.sent()))
	}
	r.wantLogin(t)
}

// TestBrowserAnswersAtOnce: of answers that come at once, one counts.
func TestBrowserAnswersAtOnce(t *testing.T) {
	const browsers = 20
	r := newRig(t, nil)
	statuses := map[int]int{}
	err := r.browse(t.Context(), func(p login.Prompt) error {
		to, err := answerOf(p.URL)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range browsers {
			all.Go(func() {
				got, err := fetchBy(http.MethodGet, to.String(), false)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				statuses[got.status]++
			})
		}
		all.Wait()
		_, err = fetch(strings.TrimSuffix(to.String(), "?"+to.RawQuery))
		return err
	})
	if err != nil || statuses[303] != 1 || statuses[409] != browsers-1 || len(r.sent()) != 1 {
		t.Errorf("%v: %v, %d calls", err, statuses, len(r.sent()))
	}
	r.wantLogin(t)
}

// TestBrowserCodeTwice: a code that the server has seen before brings no second login, and
// the error is the server's.
func TestBrowserCodeTwice(t *testing.T) {
	r := newRig(t, nil)
	var first string
	err := r.browse(t.Context(), func(p login.Prompt) error {
		to, err := answerOf(p.URL)
		if err != nil {
			return err
		}
		first = to.Query().Get("code")
		_, err = fetch(to.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = r.browse(t.Context(), func(p login.Prompt) error {
		to, err := answerOf(p.URL)
		if err != nil {
			return err
		}
		q := to.Query()
		q.Set("code", first)
		to.RawQuery = q.Encode()
		_, err = fetch(to.String())
		return err
	})
	if refused, ok := errors.AsType[*tokenclient.TokenError](err); !ok || refused.Code != "invalid_grant" || strings.Contains(err.Error(), first) {
		t.Error(err)
	}
}

// TestBrowserNobodyComes: the port is closed when the time is over, and the error says what
// came instead.
func TestBrowserNobodyComes(t *testing.T) {
	r := newRig(t, nil)
	r.config.Timeout = 50 * time.Millisecond
	var host string
	err := r.browse(t.Context(), func(p login.Prompt) error { host = portOf(t, p.URL); return nil })
	if !errors.Is(err, login.ErrNotFinished) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	wantClosed(t, host)

	// On a slow machine the time is over before anything comes; then with more of it.
	for r.config.Timeout = 100 * time.Millisecond; ; r.config.Timeout *= 2 {
		err = r.browse(t.Context(), func(p login.Prompt) error {
			_, _ = fetch("http://" + portOf(t, p.URL) + "/callback?code=x")
			return nil
		})
		if !errors.Is(err, login.ErrNotFinished) {
			t.Fatal(err)
		}
		if strings.HasSuffix(err.Error(), "with another state came, or with none: 1") {
			break
		}
		if r.config.Timeout > time.Minute {
			t.Fatal(err)
		}
	}
	r.wantNoLogin(t)
}

// TestBrowserCancelled: the end of the context ends a login wherever it is.
func TestBrowserCancelled(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	r := newRig(t, nil)
	if err := r.browse(ended, func(login.Prompt) error { t.Error("somebody was asked"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("before: %v", err)
	}

	why := errors.New("the program ends")
	ctx, cancel := context.WithCancelCause(t.Context())
	var host string
	err := r.browse(ctx, func(p login.Prompt) error { host = portOf(t, p.URL); cancel(why); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("while somebody is waited for: %v", err)
	}
	wantClosed(t, host)

	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := r.browse(late, func(login.Prompt) error { return nil }); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, login.ErrNotFinished) {
		t.Errorf("at a deadline: %v", err)
	}

	r.Set(func(o *tokentest.Options) { o.Latency = time.Hour })
	exchange, stop := context.WithCancel(t.Context())
	defer stop()
	err = r.browse(exchange, func(p login.Prompt) error {
		u, _ := url.Parse(p.URL)
		q := url.Values{"state": {u.Query().Get("state")}, "code": {"x"}, "iss": {r.URL}}
		_, err := fetchBy(http.MethodGet, u.Query().Get("redirect_uri")+"?"+q.Encode(), false)
		stop()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("in the exchange: %v", err)
	}
	r.wantNoLogin(t)
}

// TestBrowserPortTaken: somebody else has the port.
func TestBrowserPortTaken(t *testing.T) {
	for _, c := range []struct{ taken, redirect string }{
		{"127.0.0.1:0", "http://127.0.0.1:%s/"},
		{"[::1]:0", "http://[::1]:%s/"},
		{"127.0.0.1:0", "http://localhost:%s/"},
		{"[::1]:0", "http://localhost:%s/"},
	} {
		l, err := net.Listen("tcp", c.taken)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		r := newRig(t, nil)
		r.config.RedirectURL = strings.Replace(c.redirect, "%s", port, 1)
		err = r.browse(t.Context(), func(login.Prompt) error { t.Error("somebody was asked"); return nil })
		if _, ok := errors.AsType[*net.OpError](err); !ok || !strings.Contains(err.Error(), "Config.RedirectURL") || !strings.Contains(err.Error(), port) {
			t.Errorf("%s: %v", r.config.RedirectURL, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrowserFixedPort: the port that the program says is the one that is used.
func TestBrowserFixedPort(t *testing.T) {
	for _, redirect := range []string{"http://127.0.0.1:%s/", "http://[::1]:%s/", "http://localhost:%s/"} {
		r := newRig(t, nil)
		var err error
		for range 10 { // somebody else on this machine may take what was free
			port := freePort(t)
			r.config.RedirectURL = strings.Replace(redirect, "%s", port, 1)
			err = r.browse(t.Context(), func(p login.Prompt) error {
				if portOf(t, p.URL) != strings.TrimSuffix(strings.TrimPrefix(r.config.RedirectURL, "http://"), "/") {
					t.Errorf("%s: the answer goes to %s", r.config.RedirectURL, portOf(t, p.URL))
				}
				_, err := fetch(p.URL)
				return err
			})
			if _, taken := errors.AsType[*net.OpError](err); !taken {
				break
			}
		}
		if err != nil {
			t.Errorf("%s: %v", r.config.RedirectURL, err)
		}
	}
}

// freePort is a port that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
