package tokenclient_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// tokenForm starts an endpoint that notes the last form and Authorization header.
func tokenForm(t *testing.T, h http.HandlerFunc) (r *tokenclient.OAuth2Refresher, form *url.Values, auth *string) {
	form, auth = new(url.Values), new(string)
	srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if ct := r.Header.Get("Content-Type"); ct != "application/x-www-form-urlencoded" || r.Method != "POST" {
			t.Errorf("%s with Content-Type %q", r.Method, ct)
		}
		body, _ := io.ReadAll(r.Body)
		*form, _ = url.ParseQuery(string(body))
		*auth = r.Header.Get("Authorization")
		h(w, r)
	})
	return oauth(srv), form, auth
}

func TestOAuth2Refresh(t *testing.T) {
	r, form, auth := tokenForm(t, answer(200, "application/json", `{"access_token":"new","expires_in":60,"token_type":"bearer"}`))
	r.TokenURL += "?tenant=1"
	r.Scope = "read"
	r.Params = url.Values{"audience": {"a"}, "resource": {"x", "y"}}
	before := time.Now().Round(0)
	tok, err := r.Refresh(t.Context(), plantedToken)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {plantedRefresh}, "scope": {"read"}, "audience": {"a"}, "resource": {"x", "y"}}
	if !reflect.DeepEqual(*form, want) {
		t.Errorf("form = %v, want %v", *form, want)
	}
	if *auth != basicHeader(t, "app", plantedSecret) {
		t.Errorf("Authorization = %q", *auth)
	}
	if len(r.Params) != 2 {
		t.Errorf("Params were changed: %v", r.Params)
	}
	// The old refresh token stays, but that is for the session to say.
	if tok.AccessToken != "new" || tok.RefreshToken != "" || tok.TokenType != "bearer" {
		t.Errorf("token = %q, %q, %q", tok.AccessToken, tok.RefreshToken, tok.TokenType)
	}
	if tok.Issued.Before(before) || !tok.Expiry.Equal(tok.Issued.Add(time.Minute)) {
		t.Errorf("issued %v, expiry %v", tok.Issued, tok.Expiry)
	}
}

// TestOAuth2RefreshSentNothing: mistakes in the configuration cost no token.
func TestOAuth2RefreshSentNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*tokenclient.OAuth2Refresher)
		old      *tokenclient.Token
		terminal bool
		says     string
	}{
		"no ClientAuth":     {func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = nil }, plantedToken, false, "set it to PublicClient(id), ClientSecretBasic(id, secret) or ClientSecretPost(id, secret)"},
		"no client id":      {func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = tokenclient.PublicClient("") }, plantedToken, false, "client id is empty"},
		"ClientAuth fails":  {func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = failingAuth{} }, plantedToken, false, "client authentication: "},
		"grant_type":        {withParam("grant_type"), plantedToken, false, "Params must not hold grant_type"},
		"refresh_token":     {withParam("refresh_token"), plantedToken, false, "Params must not hold refresh_token"},
		"client_id":         {withParam("client_id"), plantedToken, false, "Params must not hold client_id"},
		"client_secret":     {withParam("client_secret"), plantedToken, false, "Params must not hold client_secret"},
		"scope twice":       {func(r *tokenclient.OAuth2Refresher) { withParam("scope")(r); r.Scope = "x" }, plantedToken, false, "Params must not hold scope"},
		"no refresh token":  {func(*tokenclient.OAuth2Refresher) {}, &tokenclient.Token{AccessToken: plantedAccess}, true, "no refresh token"},
		"no token":          {func(*tokenclient.OAuth2Refresher) {}, nil, true, "no refresh token"},
		"no URL, no secret": {func(r *tokenclient.OAuth2Refresher) { r.TokenURL = "" }, plantedToken, false, "OAuth2Refresher.TokenURL is empty"},
	} {
		srv, calls := tokenEndpoint(t, answer(200, "application/json", `{"access_token":"new"}`))
		r := oauth(srv)
		c.change(r)
		_, err := r.Refresh(t.Context(), c.old)
		tokenError(t, err)
		if !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) != c.terminal || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if calls.Load() != 0 {
			t.Errorf("%s: the server was asked", name)
		}
	}
	r, form, _ := tokenForm(t, answer(200, "application/json", `{"access_token":"new"}`))
	withParam("scope")(r)
	if _, err := r.Refresh(t.Context(), plantedToken); err != nil || form.Get("scope") != plantedSecret {
		t.Errorf("scope in Params alone: %v, %v", *form, err)
	}
}

func withParam(name string) func(*tokenclient.OAuth2Refresher) {
	return func(r *tokenclient.OAuth2Refresher) { r.Params = url.Values{name: {plantedSecret}} }
}

// failingAuth is a ClientAuth that fails and says too much.
type failingAuth struct{}

func (failingAuth) Authenticate(_ context.Context, _ string, form url.Values, _ http.Header) error {
	form.Set("client_secret", plantedSecret)
	return fmt.Errorf("%w: cannot sign with %s", tokenclient.ErrLoginRequired, plantedSecret)
}

// TestOAuth2ClientAuthSeesTheEndpoint: a signature is made for one endpoint.
func TestOAuth2ClientAuthSeesTheEndpoint(t *testing.T) {
	r, form, _ := tokenForm(t, answer(200, "application/json", `{"access_token":"new"}`))
	r.RevocationURL = strings.Replace(r.TokenURL, "/token", "/revoke", 1)
	r.ClientAuth = endpointAuth{}
	if _, err := r.Refresh(t.Context(), plantedToken); err != nil || form.Get("aud") != r.TokenURL {
		t.Errorf("refresh: %v, %v", *form, err)
	}
	if err := r.Revoke(t.Context(), plantedToken); err != nil || form.Get("aud") != r.RevocationURL {
		t.Errorf("revoke: %v, %v", *form, err)
	}
}

type endpointAuth struct{}

func (endpointAuth) Authenticate(_ context.Context, endpoint string, form url.Values, _ http.Header) error {
	form.Set("aud", endpoint)
	return nil
}

func TestOAuth2Revoke(t *testing.T) {
	r, form, auth := tokenForm(t, answer(200, "", ""))
	r.Params = url.Values{"audience": {"not for revocation"}}
	r.RevocationURL, r.TokenURL = r.TokenURL, ""
	for _, c := range []struct {
		t    *tokenclient.Token
		want url.Values
	}{
		{plantedToken, url.Values{"token": {plantedRefresh}, "token_type_hint": {"refresh_token"}}},
		{&tokenclient.Token{AccessToken: plantedAccess}, url.Values{"token": {plantedAccess}, "token_type_hint": {"access_token"}}},
	} {
		if err := r.Revoke(t.Context(), c.t); err != nil || !reflect.DeepEqual(*form, c.want) || *auth == "" {
			t.Errorf("%v: form %v, %v; want %v", c.t, *form, err, c.want)
		}
	}
	*form = nil
	for _, empty := range []*tokenclient.Token{nil, {}} {
		if err := r.Revoke(t.Context(), empty); err != nil || *form != nil {
			t.Errorf("of no token: %v, sent %v", err, *form)
		}
	}
	r.RevocationURL = ""
	if err := r.Revoke(t.Context(), plantedToken); err != nil || *form != nil {
		t.Errorf("without RevocationURL: %v, sent %v", err, *form)
	}
}

func TestOAuth2RevokeFails(t *testing.T) {
	for status, temporary := range map[int]bool{400: false, 401: false, 302: false, 503: true} {
		srv, _ := tokenEndpoint(t, answer(status, "application/json", `{"error":"invalid_grant","error_description":"`+plantedRefresh+`"}`))
		r := oauth(srv)
		r.RevocationURL = srv.URL + "/revoke"
		err := r.Revoke(t.Context(), plantedToken)
		if e := tokenError(t, err); e.StatusCode != status || e.Temporary() != temporary || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%d: %v", status, err)
		}
	}
	r := &tokenclient.OAuth2Refresher{RevocationURL: "http://auth.example.com/revoke", ClientAuth: tokenclient.PublicClient("app")}
	if err := r.Revoke(t.Context(), plantedToken); !strings.Contains(tokenError(t, err).Error(), "OAuth2Refresher.RevocationURL is plain http") {
		t.Errorf("plain http: %v", err)
	}
}

// TestRefreshersPrintNoSecret plants secrets wherever a program may put them.
func TestRefreshersPrintNoSecret(t *testing.T) {
	oauth := &tokenclient.OAuth2Refresher{
		TokenURL: "https://auth.example.com/token?key=" + plantedSecret,
		Params:   url.Values{"client_assertion": {plantedSecret}},
	}
	json1 := &tokenclient.JSONRefresher{TokenURL: "https://app:" + plantedSecret + "@api.example.com/refresh?key=" + plantedSecret}
	for _, auth := range []tokenclient.ClientAuth{
		tokenclient.PublicClient("app"), tokenclient.ClientSecretBasic("app", plantedSecret),
		tokenclient.ClientSecretPost("app", plantedSecret), headerAuth{"X-Key": plantedSecret}, nil,
	} {
		oauth.ClientAuth = auth
		type hidden struct {
			r tokenclient.Refresher
			a tokenclient.ClientAuth
		}
		values := []any{oauth, *oauth, json1, *json1, []tokenclient.Refresher{oauth, json1}, map[string]any{"r": *oauth}}
		if _, foreign := auth.(headerAuth); !foreign {
			values = append(values, auth, hidden{a: auth}, []tokenclient.ClientAuth{auth})
		}
		for _, v := range []any{hidden{r: oauth}, &hidden{r: json1}} {
			if s := fmt.Sprintf("%v %+[1]v %#[1]v", v); strings.Contains(s, "planted") {
				t.Errorf("%T in a field that is not exported: %s", v, s)
			}
		}
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				if s := fmt.Sprintf(verb, v); strings.Contains(s, "planted") || strings.Contains(s, fmt.Sprintf("%x", "planted")) {
					t.Errorf("%s of %T: %s", verb, v, s)
				}
			}
			if b, err := json.Marshal(v); err != nil || strings.Contains(string(b), "planted") {
				t.Errorf("JSON of %T: %s, %v", v, b, err)
			}
		}
	}
	// The control: without these methods the verbs do show it.
	if s := fmt.Sprintf("%v", struct{ Params url.Values }{oauth.Params}); !strings.Contains(s, plantedSecret) {
		t.Error("the search finds nothing at all")
	}
	oauth.ClientAuth = tokenclient.ClientSecretBasic("app", plantedSecret)
	if got, want := fmt.Sprint(oauth), `OAuth2Refresher{auth.example.com/token, ClientSecretBasic("app")}`; got != want {
		t.Errorf("printed as %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(json1), "JSONRefresher{api.example.com/refresh}"; got != want {
		t.Errorf("printed as %s, want %s", got, want)
	}
}

func TestClientAuth(t *testing.T) {
	basic := func(pair string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}}
	}
	for _, c := range []struct {
		name   string
		auth   tokenclient.ClientAuth
		form   url.Values
		header http.Header
	}{
		{"public", tokenclient.PublicClient("app"), url.Values{"client_id": {"app"}}, http.Header{}},
		{"post", tokenclient.ClientSecretPost("app", "a+b c"), url.Values{"client_id": {"app"}, "client_secret": {"a+b c"}}, http.Header{}},
		{"basic", tokenclient.ClientSecretBasic("app", "secret"), url.Values{}, basic("app:secret")},
		// RFC 6749, section 2.3.1: form-urlencoded before it is joined, so that a
		// colon in the id does no harm.
		{"basic, escaped", tokenclient.ClientSecretBasic("my:app", "a+b c/%ü"), url.Values{}, basic("my%3Aapp:a%2Bb+c%2F%25%C3%BC")},
		{"basic, no secret", tokenclient.ClientSecretBasic("app", ""), url.Values{}, basic("app:")},
	} {
		form, header := url.Values{}, http.Header{}
		if err := c.auth.Authenticate(t.Context(), "https://auth.example.com/token", form, header); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !reflect.DeepEqual(form, c.form) || !reflect.DeepEqual(header, c.header) {
			t.Errorf("%s: form %v, header %v; want %v, %v", c.name, form, header, c.form, c.header)
		}
	}
}

func TestClientAuthWithoutID(t *testing.T) {
	for _, auth := range []tokenclient.ClientAuth{
		tokenclient.PublicClient(""), tokenclient.ClientSecretBasic("", "x"), tokenclient.ClientSecretPost("", "x"),
	} {
		if err := auth.Authenticate(t.Context(), "", url.Values{}, http.Header{}); err == nil {
			t.Errorf("%v: no error without an id", auth)
		}
	}
}
