package behaviour_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestSecretsInValues prints everything that has a secret in it.
func TestSecretsInValues(t *testing.T) { synctest.Test(t, testSecretsInValues) }

func testSecretsInValues(t *testing.T) {
	r := newSecretRig(t, nil)
	defer r.session.Close(t.Context())
	oauth := r.config.Refresher.(*tokenclient.OAuth2Refresher)
	jsonRefresher := &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/refresh?key=" + secretParam}
	memory := new(store.Memory)
	withStore := r.config
	withStore.Store, withStore.Key = memory, "alice"
	token := secretToken()
	now, _, err := memory.Replace(t.Context(), "alice", token)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"Token": *token, "*Token": token, "Tokens": []tokenclient.Token{*token}, "*Tokens": []*tokenclient.Token{token},
		"Config": r.config, "*Config": &r.config, "Config with a Store": withStore,
		"Session": r.session, "Transport": r.session.Transport(nil), "Transport by value": *r.session.Transport(nil),
		"Client":          r.session.Client(),
		"OAuth2Refresher": *oauth, "*OAuth2Refresher": oauth,
		"JSONRefresher": *jsonRefresher, "*JSONRefresher": jsonRefresher,
		"PublicClient":      tokenclient.PublicClient("app"),
		"ClientSecretBasic": tokenclient.ClientSecretBasic("app", secretClient),
		"ClientSecretPost":  tokenclient.ClientSecretPost("app", secretClient),
		"Record":            now, "*Record": &now,
		"NotSavedError": tokenclient.NewNotSavedError("alice", token, errors.New("disk full"), nil),
		"TokenError":    &tokenclient.TokenError{Endpoint: "h/p", Err: tokenclient.NewNotSavedError("alice", token, errors.New("x"), nil)},
		"Memory":        memory,
		"Context":       tokenclient.WithBinding(tokenclient.WithKey(t.Context(), "alice"), secretBinding),
	} {
		r.value(name, v)
	}
	r.done()
}

// TestSecretsBuried: a program's own struct that holds a Token in an exported
// field is safe to print. In an unexported one a pointer is, with %v in its forms;
// with other verbs fmt shows what it points to.
func TestSecretsBuried(t *testing.T) {
	w := newSecretWatch(t)
	type inner struct {
		Value   tokenclient.Token
		Pointer *tokenclient.Token
	}
	type outer struct {
		Name  string
		Inner inner
		Many  map[string]tokenclient.Token
		Any   any
	}
	token := secretToken()
	in := inner{*token, token}
	w.value("a struct of a program", outer{"x", in, map[string]tokenclient.Token{"a": *token}, token})
	type hidden struct{ token *tokenclient.Token }
	w.text("a struct that hides a pointer", fmt.Sprintf("%v %+v %#v", hidden{token}, hidden{token}, &hidden{token}))
	w.value("an error of a program", fmt.Errorf("cannot use %v: %+v", token, *token))
}

// TestSecretsInOwnRefreshers: the error of a program's own Refresher is cleaned of
// the pair that it was handed, wherever it is said.
func TestSecretsInOwnRefreshers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := secretAccess + " and " + secretRefresh
		for name, err := range map[string]error{
			"text":        errors.New("cannot use " + both),
			"wrapped":     fmt.Errorf("exchange: %w", errors.New("cannot use "+both)),
			"terminal":    fmt.Errorf("%w: %s", tokenclient.ErrLoginRequired, both),
			"code":        &tokenclient.TokenError{StatusCode: 400, Code: secretAccess},
			"description": &tokenclient.TokenError{StatusCode: 400, Description: both, Err: errors.New(both)},
			"wrapping":    fmt.Errorf("%s: %w", both, &tokenclient.TokenError{StatusCode: 503, Description: both}),
			"endpoint":    &tokenclient.TokenError{Endpoint: "auth.example.com/" + secretRefresh, Err: io.EOF},
			"a piece":     errors.New("cannot use " + secretRefresh[:16]),
			"upper case":  errors.New("cannot use " + strings.ToUpper(secretRefresh)),
			"hexadecimal": fmt.Errorf("cannot use %x", both),
			"base64":      errors.New("cannot use Basic " + base64.StdEncoding.EncodeToString([]byte("app:"+both))),
			"URL":         &url.Error{Op: "Post", URL: "https://auth.example.com/token?t=" + secretRefresh + "&k=" + secretParam, Err: io.EOF},
			"a key in it": fmt.Errorf("exchange: %w", &url.Error{Op: "Post", URL: "https://auth.example.com/token?k=" + secretParam, Err: io.EOF}),
		} {
			r := newSecretRig(t, func(c *tokenclient.Config) {
				c.Refresher = tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					return nil, err
				})
			})
			_, got := r.session.Refresh(t.Context())
			if got == nil {
				t.Fatalf("%s: no error", name)
			}
			for err := got; err != nil; err = errors.Unwrap(err) {
				r.text(name, err.Error())
			}
			r.text(name+", request", r.request().Error())
			if errors.Is(err, io.EOF) != errors.Is(got, io.EOF) {
				t.Errorf("%s: the cause of %v is lost", name, got)
			}
			_ = r.session.Close(t.Context())
			r.done("refresh failed")
		}
	})
}

// TestSecretsEscaped: a refresh token with characters that encodings escape, as a
// program's own Refresher and its transport may say it. Nothing else is lost of the error.
func TestSecretsEscaped(t *testing.T) {
	const refresh = "1//0g+AbC=dEf&GhI/jKl+MnO=pQr&" + "\"sT<u>"
	quoted, _ := json.Marshal(map[string]string{"refresh_token": refresh})
	for name, err := range map[string]error{
		"URL":           &url.Error{Op: "Get", URL: "https://auth.example.com/token?refresh_token=" + url.QueryEscape(refresh), Err: io.EOF},
		"path of a URL": &url.Error{Op: "Get", URL: "https://auth.example.com/" + url.PathEscape(refresh), Err: io.EOF},
		"form":          fmt.Errorf("body %s: %w", url.Values{"refresh_token": {refresh}}.Encode(), io.EOF),
		"lower case":    fmt.Errorf("body %s: %w", strings.ToLower(url.QueryEscape(refresh)), io.EOF),
		"JSON":          fmt.Errorf("body %s: %w", quoted, io.EOF),
		"quoted":        fmt.Errorf("body %q: %w", refresh, io.EOF),
		"HTML":          fmt.Errorf("body %s: %w", html.EscapeString(refresh), io.EOF),
		"hexadecimal":   fmt.Errorf("body %x: %w", refresh, io.EOF),
		"base64":        fmt.Errorf("body %s: %w", base64.URLEncoding.EncodeToString([]byte("t="+refresh)), io.EOF),
	} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Refresher = tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { return nil, err })
		})
		if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: secretAccess, RefreshToken: refresh}); err != nil {
			t.Fatal(err)
		}
		_, got := s.Refresh(t.Context())
		if !errors.Is(got, io.EOF) {
			t.Errorf("%s: %v is not io.EOF", name, got)
		}
		if want := "tokenclient: token endpoint: [redacted]"; name != "URL" && got.Error() != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
		if want := `tokenclient: token endpoint: Get "https://auth.example.com/token": EOF`; name == "URL" && got.Error() != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

// TestSecretsAreFound is the control: what is printed on purpose is found, by
// every way of printing and in every place where the other tests look.
func TestSecretsAreFound(t *testing.T) {
	type leaky struct{ token tokenclient.Token } // as the documentation warns
	for name, v := range map[string]any{
		"a string":        "Bearer " + secretAccess,
		"bytes":           []byte(secretSealing),
		"an error":        errors.New("no " + secretRefresh),
		"an unexported":   leaky{*secretToken()},
		"a field":         struct{ S string }{secretClient},
		"a header":        http.Header{"Authorization": {"Bearer " + secretAccess}},
		"a form":          url.Values{"p": {secretPassword}},
		"basic":           "Basic YXBwOnBsYW50ZWQtY2xpZW50JTJCc2VjcmV0JTJGNFR0",
		"upper case":      "PLANTED",
		"hexadecimal":     fmt.Sprintf("%x", secretSealing),
		"decimal":         fmt.Sprint([]byte(secretSealing)),
		"what fields say": secretToken().AccessToken,
	} {
		found := false
		for _, text := range secretPrints(v) {
			found = found || findSecret(text) != ""
		}
		if !found {
			t.Errorf("the search does not find %s", name)
		}
	}
	w := newSecretWatch(t)
	w.logger().Debug("x", "token", secretAccess)
	if findSecret(w.logs.String()) == "" {
		t.Error("the search does not see the log at level debug")
	}
	if mark := findSecret("tokenclient: refresh failed key=alice generation=3"); mark != "" {
		t.Errorf("the search finds %q where nothing is", mark)
	}
}
