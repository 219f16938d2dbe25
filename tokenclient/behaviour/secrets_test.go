package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func secretToken() *tokenclient.Token {
	return &tokenclient.Token{
		AccessToken: secretAccess, RefreshToken: secretRefresh, TokenType: "Bearer", Scope: "read", Binding: secretBinding,
		Expiry: time.Now().Add(time.Hour), Extra: map[string]any{"id_token": secretNext},
	}
}

// secretFailures is what a token endpoint does, mostly with what it was sent.
var secretFailures = map[string]sessiontest.RoundTrip{
	"echo in description": secretAnswer(400, `{"error":"invalid_request","error_description":"bad token %s and %s"}`, secretRefresh, secretClient),
	"echo in code":        secretAnswer(400, `{"error":"%s"}`, secretRefresh),
	"echo of a binding":   secretAnswer(400, `{"error":"x","error_description":"%s"}`, secretBinding),
	"echo of a piece":     secretAnswer(400, `{"error":"x","error_description":"%s"}`, secretRefresh[2:20]),
	"echo in upper case":  secretAnswer(400, `{"error":"x","error_description":"%s"}`, strings.ToUpper(secretRefresh)),
	"echo, escaped":       secretAnswer(400, `{"error":"x","error_description":"%s"}`, url.QueryEscape(secretClient)),
	"echo of a parameter": secretAnswer(400, `{"error":"x","error_description":"%s"}`, secretParam),
	"echo in an object":   secretAnswer(400, `{"error":{"code":"%s","message":"%s"}}`, secretRefresh, secretRefresh),
	"echo in HTML":        secretAnswer(502, "<html>%s</html>", secretRefresh),
	"echo in a form":      secretAnswer(500, "refresh_token=%s", secretRefresh),
	"echo of the header":  secretAnswer(401, `{"error":"invalid_client","error_description":"%s"}`, "Basic YXBwOnBsYW50ZWQtY2xpZW50JTJCc2VjcmV0JTJGNFR0"),
	"truncated":           secretAnswer(200, `{"access_token":"%s`, secretNext),
	"control character":   secretAnswer(200, `{"access_token":"%s\u0001"}`, secretNext),
	"wrong type":          secretAnswer(200, `{"access_token":["%s"]}`, secretNext),
	"no access token":     secretAnswer(200, `{"refresh_token":"%s"}`, secretNext),
	"bad lifetime":        secretAnswer(200, `{"access_token":"","expires_in":"%s"}`, secretNext),
	"redirect":            secretAnswer(307, "%s", ""),
	"network, quoting":    func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("malformed %q", secretRefresh) },
	"network, URL": func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Post", URL: r.URL.String() + "&x=" + secretParam, Err: io.ErrUnexpectedEOF}
	},
	"body breaks off": func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Request: r, Body: io.NopCloser(iotest.ErrReader(io.ErrClosedPipe))}, nil
	},
}

func secretAnswer(status int, format string, args ...any) sessiontest.RoundTrip {
	return func(r *http.Request) (*http.Response, error) {
		body := fmt.Sprintf(format, args...)
		return &http.Response{StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{"Location": {"https://" + secretRefresh + ".example/?t=" + secretRefresh}, "Content-Type": {"application/json"}}}, nil
	}
}

// secretRig is a session whose every part has a secret.
type secretRig struct {
	*secretWatch
	config  tokenclient.Config
	session *tokenclient.Session
	api     sessiontest.RoundTrip
	token   sessiontest.RoundTrip // the token endpoint
}

func newSecretRig(t *testing.T, change func(*tokenclient.Config)) *secretRig {
	r := &secretRig{secretWatch: newSecretWatch(t)}
	r.api = func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 401, Body: http.NoBody, Request: req}, nil
	}
	kind := func(hook string) func(tokenclient.RefreshInfo, error) {
		return func(i tokenclient.RefreshInfo, err error) { r.value(hook, i); r.value(hook, err) }
	}
	r.config = tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL: "https://auth.example.com/token?key=" + secretParam, RevocationURL: "https://auth.example.com/revoke?key=" + secretParam,
			ClientAuth: tokenclient.ClientSecretBasic("app", secretClient), Params: url.Values{"api_key": {secretParam}},
			HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, req.Body)
				_ = req.Body.Close()
				return r.token(req)
			})},
		},
		Origins: []string{"https://api.example.com"},
		Logger:  r.logger(),
		Hooks: &tokenclient.Hooks{
			Refreshed:     func(i tokenclient.RefreshInfo) { r.value("Refreshed", i) },
			Adopted:       func(i tokenclient.RefreshInfo) { r.value("Adopted", i) },
			RefreshFailed: kind("RefreshFailed"), SaveFailed: kind("SaveFailed"),
			SessionEnded: func(err error) { r.value("SessionEnded", err) },
			Replayed:     func(method, origin string) { r.value("Replayed", method+" "+origin) },
		},
	}
	if change != nil {
		change(&r.config)
	}
	var err error
	if r.session, err = tokenclient.New(r.config); err != nil {
		t.Fatal(err)
	}
	if err := r.session.SetToken(t.Context(), secretToken()); err != nil {
		t.Fatal(err)
	}
	return r
}

// request sends one to the API, whose URL has a secret too.
func (r *secretRig) request() error {
	client := r.session.Wrap(&http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) { return r.api(req) })})
	req, _ := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://api.example.com/", nil)
	resp, err := client.Do(req)
	if err == nil {
		r.value("the response's request", resp.Request)
		_ = resp.Body.Close()
	}
	return err
}

// TestSecretsInFailures runs every failure of a token endpoint, with everything
// logged, and looks for secrets in errors, logs and what hooks were told.
func TestSecretsInFailures(t *testing.T) { synctest.Test(t, testSecretsInFailures) }

func testSecretsInFailures(t *testing.T) {
	r := newSecretRig(t, nil)
	for name, fail := range secretFailures {
		r.token = fail
		if err := r.session.SetToken(t.Context(), secretToken()); err != nil { // and forget the failures
			t.Fatal(err)
		}
		_, err := r.session.Refresh(t.Context())
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		r.value(name, err)
		for e := err; e != nil; e = errors.Unwrap(e) {
			r.value(name+", unwrapped", e)
		}
		r.value(name+", request", r.request())
	}
	r.token = secretAnswer(400, `{"error":"x","error_description":"%s"}`, secretRefresh)
	r.value("Logout", r.session.Logout(t.Context()))
	r.value("after Logout", r.request())
	if err := r.session.SetToken(t.Context(), secretToken()); err != nil {
		t.Fatal(err)
	}
	r.token = secretAnswer(400, `{"error":"invalid_grant","error_description":"%s is dead"}`, secretRefresh)
	_, err := r.session.Refresh(t.Context())
	r.value("terminal", err)
	r.value("after the end", r.request())
	r.value("Close", r.session.Close(t.Context()))
	r.value("the session", r.session)
	r.done("refresh failed", "session ended", "trying once more", `"level":"WARN"`)
}

// TestSecretsInLogins: a password is in no error, nor is what a Session was given.
func TestSecretsInLogins(t *testing.T) {
	w := newSecretWatch(t)
	for name, fail := range map[string]sessiontest.RoundTrip{
		"echo":       secretAnswer(400, `{"error":"x","error_description":"no user has %s"}`, strings.ReplaceAll(secretPassword, `"`, "")),
		"in HTML":    secretAnswer(403, `{"error":"x","error_description":"%s"}`, html.EscapeString(secretPassword)),
		"in a URL":   secretAnswer(403, `{"error":"%s"}`, url.QueryEscape(secretPassword)),
		"network":    func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("cannot send %q", secretPassword) },
		"new tokens": secretAnswer(200, `{"access_token":"","refresh_token":"%s"}`, secretNext),
		"cut":        secretAnswer(200, `{"access_token":"%s`, secretNext),
	} {
		l := &tokenclient.PasswordLogin{URL: "https://auth.example.com/login?key=" + secretParam, HTTPClient: &http.Client{Transport: fail}}
		_, err := l.Login(t.Context(), "alice", secretPassword)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		w.value(name, err)
		w.value("PasswordLogin", l.Response)
	}
	s := sessiontest.LoggedIn(t, nil)
	for _, bad := range []*tokenclient.Token{{AccessToken: secretAccess + "\n"}, {AccessToken: "a", RefreshToken: secretRefresh + "ä"}, {AccessToken: "a", TokenType: secretNext + " "}} {
		w.value("SetToken", s.SetToken(t.Context(), bad))
	}
}

// TestSecretsInPanics: a Refresher or a Store that panics with a secret in its
// hands is not quoted.
func TestSecretsInPanics(t *testing.T) { synctest.Test(t, testSecretsInPanics) }

func testSecretsInPanics(t *testing.T) {
	for name, value := range map[string]any{
		"the old token": secretToken(), "its text": "cannot send " + secretRefresh, "the new token's text": "cannot keep " + secretNext,
		"an error": fmt.Errorf("no %s", secretClient), "a struct": struct{ Secret string }{secretNext},
	} {
		r := newSecretRig(t, func(c *tokenclient.Config) {
			c.Refresher = tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { panic(value) })
		})
		_, err := r.session.Refresh(t.Context())
		r.value("panic with "+name, err)
		r.value("panic with "+name+", request", r.request())
		_ = r.session.Close(t.Context())
		r.done("panic")
		broken := &callingStore{Store: new(store.Memory)}
		r = newSecretRig(t, func(c *tokenclient.Config) { c.Store, c.Key = broken, "k" })
		explode := func(context.Context) error { panic(value) }
		broken.load, broken.replace, broken.refresh = explode, explode, explode
		_, err = r.session.Refresh(t.Context())
		r.value("Store.Refresh panics with "+name, err)
		r.value("Store.Replace panics with "+name, r.session.SetToken(t.Context(), secretToken()))
		r.value("Logout", r.session.Logout(t.Context()))
		r.value("Store.Load panics with "+name, r.request())
		_ = r.session.Close(t.Context())
		r.done("panic")
	}
}

// TestSecretsInFiles: nothing in the folder of a sealed store, nor in the errors
// of one that cannot be opened.
func TestSecretsInFiles(t *testing.T) {
	w := newSecretWatch(t)
	dir := filepath.Join(t.TempDir(), "tokens")
	open := func(id, key string) *store.File {
		k, err := store.KeyBytes(id, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		w.value("the key", k)
		w.value("the sealer", store.Seal(k))
		f, err := store.NewFile(dir, store.Seal(k))
		if err != nil {
			t.Fatal(err)
		}
		w.value("the store", f)
		return f
	}
	if _, _, err := open("k1", secretSealing).Replace(t.Context(), "alice", secretToken()); err != nil {
		t.Fatal(err)
	}
	_, err := open("k2", strings.ToUpper(secretSealing)).Load(t.Context(), "alice")
	w.value("another key", err)
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) == 0 {
		t.Fatal("no file was written")
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w.text(filepath.Base(file), string(content))
		if err := os.WriteFile(file, append([]byte("x"), content...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = open("k1", secretSealing).Load(t.Context(), "alice")
	if err == nil {
		t.Error("a damaged file was read")
	}
	w.value("a damaged file", err)
}
