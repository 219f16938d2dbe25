package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

// The answer of RFC 6749, sections 4.1.4, 4.3.3 and 5.1, and what it says.
const rfc6749Answer = `
HTTP/1.1 200 OK
Content-Type: application/json;charset=UTF-8
Cache-Control: no-store
Pragma: no-cache

{
  "access_token":"2YotnFZFEjr1zCsicMWpAA",
  "token_type":"example",
  "expires_in":3600,
  "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA",
  "example_parameter":"example_value"
}`

func rfc6749Token() *tokenclient.Token {
	return &tokenclient.Token{
		AccessToken: "2YotnFZFEjr1zCsicMWpAA", RefreshToken: "tGzv3JOkF0XG5Qx2TlKWIA", TokenType: "example",
		Extra: map[string]any{"example_parameter": "example_value"},
	}
}

// saml is an extension grant that a program has of its own.
type saml struct{ assertion string }

func (g saml) Params(context.Context, *tokenclient.Token) (url.Values, error) {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:saml2-bearer"}, "assertion": {g.assertion}}, nil
}

// TestRFC6749Requests: what is sent is what the RFC prints, and it is sent once. Nothing of
// a login stays behind in the refresher.
func TestRFC6749Requests(t *testing.T) {
	basic := tokenclient.ClientSecretBasic("s6BhdRkqt3", "gX1fBat3bV")
	old := &tokenclient.Token{RefreshToken: "tGzv3JOkF0XG5Qx2TlKWIA"}
	for _, c := range []struct {
		name, want string
		auth       tokenclient.ClientAuth
		grant      tokenclient.Grant // of a refresh
		login      url.Values        // nil: a refresh
	}{
		{"2.3.1, in the body", `
POST /token HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA
&client_id=s6BhdRkqt3&client_secret=7Fjfp0ZBr1KtDRbnfVdmIw`,
			tokenclient.ClientSecretPost("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"), nil, nil},
		{"4.1.3", `
POST /token HTTP/1.1
Host: server.example.com
Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA
&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb`,
			basic, nil, url.Values{"grant_type": {"authorization_code"}, "code": {"SplxlOBeZQQYbYS6WxSbIA"}, "redirect_uri": {"https://client.example.com/cb"}}},
		{"4.1.3, a client that does not authenticate", `
POST /token HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA
&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb&client_id=s6BhdRkqt3`,
			tokenclient.PublicClient("s6BhdRkqt3"), nil,
			url.Values{"grant_type": {"authorization_code"}, "code": {"SplxlOBeZQQYbYS6WxSbIA"}, "redirect_uri": {"https://client.example.com/cb"}}},
		{"4.3.2", `
POST /token HTTP/1.1
Host: server.example.com
Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW
Content-Type: application/x-www-form-urlencoded

grant_type=password&username=johndoe&password=A3ddj3w`,
			basic, nil, url.Values{"grant_type": {"password"}, "username": {"johndoe"}, "password": {"A3ddj3w"}}},
		{"4.4.2", `
POST /token HTTP/1.1
Host: server.example.com
Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW
Content-Type: application/x-www-form-urlencoded

grant_type=client_credentials`,
			basic, grant.ClientCredentials{}, nil},
		{"4.5", `
POST /token HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Asaml2-
bearer&assertion=PEFzc2VydGlvbiBJc3N1ZUluc3RhbnQ9IjIwMTEtMDU
aG5TdGF0ZW1lbnQ-PC9Bc3NlcnRpb24-`,
			clientauth.NoClient(), saml{"PEFzc2VydGlvbiBJc3N1ZUluc3RhbnQ9IjIwMTEtMDUaG5TdGF0ZW1lbnQ-PC9Bc3NlcnRpb24-"}, nil},
		{"6", `
POST /token HTTP/1.1
Host: server.example.com
Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW
Content-Type: application/x-www-form-urlencoded

grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA`,
			basic, nil, nil},
	} {
		w := &rfcWire{answers: []string{rfc6749Answer}}
		r := w.refresher(c.auth)
		r.Grant = c.grant
		before := *r
		var got *tokenclient.Token
		var err error
		if c.login != nil {
			got, err = r.Login(t.Context(), c.login)
		} else {
			got, err = r.Refresh(t.Context(), old)
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		w.wantSent(t, c.name, c.want)
		wantRead(t, c.name, got, time.Hour, rfc6749Token())
		if n := len(w.got()); n != 1 {
			t.Errorf("%s: sent %d times", c.name, n)
		}
		if !reflect.DeepEqual(*r, before) {
			t.Errorf("%s: the refresher has changed", c.name)
		}
	}
}

// TestRFC6749Encoding: id and secret are encoded before they are joined, and all that is
// sent is UTF-8, as appendix B has it.
func TestRFC6749Encoding(t *testing.T) {
	const value, encoded = " %&+£€", "+%25%26%2B%C2%A3%E2%82%AC"
	header := http.Header{}
	auth := tokenclient.ClientSecretBasic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw")
	if err := auth.Authenticate(t.Context(), "", nil, header); err != nil || header.Get("Authorization") != "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3" {
		t.Errorf("2.3.1: %v, %v", header, err)
	}
	raw := ""
	r := &tokenclient.OAuth2Refresher{
		TokenURL: "https://server.example.com/token?tenant=" + encoded, ClientAuth: tokenclient.ClientSecretBasic(value, value),
		HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			id, secret, _ := req.BasicAuth()
			if id != encoded || secret != encoded {
				t.Errorf("Basic with %q and %q, want both %q", id, secret, encoded)
			}
			if req.URL.RawQuery != "tenant="+encoded {
				t.Errorf("the query of the endpoint has become %q", req.URL.RawQuery)
			}
			raw = bodyOf(req)
			return nil, errors.New("enough")
		})},
	}
	_, _ = r.Login(t.Context(), url.Values{"password": {value}, value: {"x"}})
	if want := encoded + "=x&password=" + encoded; raw != want {
		t.Errorf("sent %q, want %q", raw, want)
	}
}

// TestRFC6749Answers reads answers as the RFC prints them, and as it lets them be. What is
// not known is ignored, and what has no value is not there.
func TestRFC6749Answers(t *testing.T) {
	read := func(name, answer string, lifetime time.Duration, want *tokenclient.Token) {
		t.Helper()
		got, err := (&rfcWire{answers: []string{answer}}).refresher(tokenclient.PublicClient("s6BhdRkqt3")).Refresh(t.Context(), &tokenclient.Token{RefreshToken: "r"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		wantRead(t, name, got, lifetime, want)
	}
	read("5.1", rfc6749Answer, time.Hour, rfc6749Token())
	long := strings.Repeat("x", 100_000) // sizes are left undefined
	for _, c := range []struct {
		name, body string
		want       tokenclient.Token // with an access token
	}{
		{"4.4.3, no refresh token", `{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer"}`, tokenclient.Token{TokenType: "Bearer"}},
		{"scope", `{"scope":"b a","access_token":"2YotnFZFEjr1zCsicMWpAA"}`, tokenclient.Token{Scope: "b a"}},
		{"no value", `{"access_token":"2YotnFZFEjr1zCsicMWpAA","refresh_token":"","scope":"","token_type":""}`, tokenclient.Token{}},
		{"long", `{"access_token":"2YotnFZFEjr1zCsicMWpAA","refresh_token":"` + long + `"}`, tokenclient.Token{RefreshToken: long}},
	} {
		c.want.AccessToken = "2YotnFZFEjr1zCsicMWpAA"
		read(c.name, "HTTP/1.1 200 OK\nContent-Type: application/json\n\n"+c.body, 0, &c.want)
	}
}

// TestRFC6749Errors: the codes of section 5.2 are told, and one of them ends a session.
func TestRFC6749Errors(t *testing.T) {
	for _, c := range []struct {
		code, status, header string
		terminal             bool
	}{
		{"invalid_request", "400 Bad Request", "", false}, // the example
		{"invalid_client", "400 Bad Request", "", false},
		{"invalid_client", "401 Unauthorized", "WWW-Authenticate: Basic realm=\"example\"\n", false},
		{"invalid_grant", "400 Bad Request", "", true},
		{"unauthorized_client", "400 Bad Request", "", false},
		{"unsupported_grant_type", "400 Bad Request", "", false},
		{"invalid_scope", "400 Bad Request", "", false},
	} {
		answer := "HTTP/1.1 " + c.status + "\nContent-Type: application/json;charset=UTF-8\nCache-Control: no-store\nPragma: no-cache\n" + c.header +
			"\n{\n  \"error\":\"" + c.code + "\"\n}"
		w := &rfcWire{answers: []string{answer}}
		r := w.refresher(tokenclient.ClientSecretBasic("s6BhdRkqt3", "gX1fBat3bV"))
		_, err := r.Refresh(t.Context(), &tokenclient.Token{RefreshToken: "tGzv3JOkF0XG5Qx2TlKWIA"})
		failed := wantTokenError(t, c.code, err)
		if failed.Code != c.code || errors.Is(err, tokenclient.ErrLoginRequired) != c.terminal || failed.Temporary() || errors.Is(err, tokenclient.ErrNotPresented) {
			t.Errorf("%s %s: %v", c.status, c.code, err)
		}
	}
}

// TestRFC6749NewRefreshToken: a new refresh token takes the place of the old one, and
// without a new one the old one stays (section 6).
func TestRFC6749NewRefreshToken(t *testing.T) {
	answer := func(body string) string { return "HTTP/1.1 200 OK\nContent-Type: application/json\n\n" + body }
	w := &rfcWire{answers: []string{rfc6749Answer, answer(`{"access_token":"b","token_type":"Bearer"}`), answer(`{"access_token":"c","refresh_token":"next"}`)}}
	s := rfcSession(t, w.refresher(tokenclient.PublicClient("s6BhdRkqt3")))
	if err := s.SetToken(t.Context(), &tokenclient.Token{RefreshToken: "first"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tGzv3JOkF0XG5Qx2TlKWIA", "tGzv3JOkF0XG5Qx2TlKWIA", "next", "next"} {
		token, err := s.Refresh(t.Context())
		if err != nil || token.RefreshToken != want {
			t.Fatalf("the refresh token is %v, %v, want %s", token, err, want)
		}
	}
	var sent []string
	for _, r := range w.got() {
		form, _ := url.ParseQuery(r.form)
		sent = append(sent, form.Get("refresh_token"))
	}
	if want := []string{"first", "tGzv3JOkF0XG5Qx2TlKWIA", "tGzv3JOkF0XG5Qx2TlKWIA", "next"}; !reflect.DeepEqual(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
}

// TestRFC6749CodeOnce: a code is not sent a second time, whatever became of the first
// (section 4.1.2).
func TestRFC6749CodeOnce(t *testing.T) {
	for name, answer := range map[string]string{
		"lost":        "",
		"unavailable": "HTTP/1.1 503 Service Unavailable\nRetry-After: 0\n\n",
		"redirected":  "HTTP/1.1 307 Temporary Redirect\nLocation: https://server.example.com/other\n\n",
		"not read":    "HTTP/1.1 200 OK\n\n<html>",
	} {
		w := &rfcWire{answers: []string{answer}}
		_, err := w.refresher(tokenclient.PublicClient("s6BhdRkqt3")).Login(t.Context(), url.Values{"grant_type": {"authorization_code"}, "code": {"SplxlOBeZQQYbYS6WxSbIA"}})
		if wantTokenError(t, name, err); len(w.got()) != 1 {
			t.Errorf("%s: sent %d times", name, len(w.got()))
		}
	}
}

// TestRFC6749UnknownType: a token whose type nobody knows is used as Bearer, and none is lost for it.
func TestRFC6749UnknownType(t *testing.T) {
	endpoint, api := &rfcWire{answers: []string{rfc6749Answer}}, &rfcWire{answers: []string{"HTTP/1.1 200 OK\n\n"}}
	s := rfcSession(t, endpoint.refresher(tokenclient.PublicClient("s6BhdRkqt3")))
	if err := s.SetToken(t.Context(), &tokenclient.Token{RefreshToken: "first"}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.Wrap(&http.Client{Transport: api}).Get("https://server.example.com/resource/1")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if sent := api.got(); len(sent) != 1 || sent[0].auth != "Bearer 2YotnFZFEjr1zCsicMWpAA" || len(endpoint.got()) != 1 {
		t.Errorf("sent %v after %d refreshes", sent, len(endpoint.got()))
	}
}
