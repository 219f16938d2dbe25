package behaviour_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// TestRFC6750Header: the answer of section 4 is read, and its token sent as section 2.1 has
// it: in the header alone.
func TestRFC6750Header(t *testing.T) {
	endpoint := &rfcWire{answers: []string{`
HTTP/1.1 200 OK
Content-Type: application/json;charset=UTF-8
Cache-Control: no-store
Pragma: no-cache

{
  "access_token":"mF_9.B5f-4.1JqM",
  "token_type":"Bearer",
  "expires_in":3600,
  "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA"
}`}}
	s := rfcSession(t, endpoint.refresher(tokenclient.PublicClient("s6BhdRkqt3")))
	if err := s.SetToken(t.Context(), &tokenclient.Token{RefreshToken: "r"}); err != nil {
		t.Fatal(err)
	}
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantRead(t, "4", token, time.Hour, &tokenclient.Token{
		AccessToken: "mF_9.B5f-4.1JqM", RefreshToken: "tGzv3JOkF0XG5Qx2TlKWIA", TokenType: "Bearer",
	})

	api := &rfcWire{answers: []string{"HTTP/1.1 200 OK\n\n"}}
	jar, _ := cookiejar.New(nil)
	resp, err := s.Wrap(&http.Client{Transport: api, Jar: jar}).Get("https://server.example.com/resource")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	api.wantSent(t, "2.1", `
GET /resource HTTP/1.1
Host: server.example.com
Authorization: Bearer mF_9.B5f-4.1JqM`)
	if cookies := jar.Cookies(&url.URL{Scheme: "https", Host: "server.example.com"}); len(cookies) != 0 {
		t.Errorf("cookies %v", cookies)
	}
}

// TestRFC6750OneMethod: whoever sends a token in the header by himself gets no second one,
// and none is added to the query or the body.
func TestRFC6750OneMethod(t *testing.T) {
	api := &rfcWire{answers: []string{"HTTP/1.1 200 OK\n\n"}}
	client := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{"https://server.example.com"} }).Wrap(&http.Client{Transport: api})
	send := func(auth string) {
		req, err := http.NewRequest(http.MethodPost, "https://server.example.com/resource?p=q", strings.NewReader("a=b"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	const text = `
POST /resource?p=q HTTP/1.1
Host: server.example.com
Authorization: Bearer AUTH
Content-Type: application/x-www-form-urlencoded

a=b`
	send("")
	api.wantSent(t, "the session's", strings.Replace(text, "AUTH", sessiontest.Access(0), 1))
	send("Bearer mF_9.B5f-4.1JqM")
	api.wantSent(t, "the caller's", strings.Replace(text, "AUTH", "mF_9.B5f-4.1JqM", 1))
}

// rfc6750Answers are the answers of sections 3 and 3.1, with the challenge in each and what
// is done about it.
var rfc6750Answers = []struct {
	name, status, challenge string
	params                  map[string]string
	refreshed               bool
}{
	{"3, no authentication", "401 Unauthorized", `Bearer realm="example"`, map[string]string{"realm": "example"}, true},
	{"3, expired", "401 Unauthorized", "Bearer realm=\"example\",\n                  error=\"invalid_token\",\n                  error_description=\"The access token expired\"",
		map[string]string{"realm": "example", "error": "invalid_token", "error_description": "The access token expired"}, true},
	{"3, scope", "401 Unauthorized", `Bearer scope="openid profile email"`, map[string]string{"scope": "openid profile email"}, true},
	{"3, another scope", "401 Unauthorized", `Bearer scope="urn:example:channel=HBO&urn:example:rating=G,PG-13"`,
		map[string]string{"scope": "urn:example:channel=HBO&urn:example:rating=G,PG-13"}, true},
	{"3.1, invalid_request", "400 Bad Request", `Bearer error="invalid_request"`, map[string]string{"error": "invalid_request"}, false},
	{"3.1, insufficient_scope", "403 Forbidden", `Bearer error="insufficient_scope", scope="a b"`, map[string]string{"error": "insufficient_scope", "scope": "a b"}, false},
	{"3.1, insufficient_scope, with a 401", "401 Unauthorized", `Bearer error="insufficient_scope"`, map[string]string{"error": "insufficient_scope"}, false},
}

// TestRFC6750Challenges: a token that the server calls invalid is refreshed and the request
// sent again; what another token would not mend is left to the caller, who can read why.
func TestRFC6750Challenges(t *testing.T) {
	for _, c := range rfc6750Answers {
		refused := "HTTP/1.1 " + c.status + "\nWWW-Authenticate: " + c.challenge
		api := &rfcWire{answers: []string{refused, "HTTP/1.1 200 OK\n\n"}}
		s := sessiontest.LoggedIn(t, func(cfg *tokenclient.Config) { cfg.Origins = []string{"https://server.example.com"} })
		resp, err := s.Wrap(&http.Client{Transport: api}).Get("https://server.example.com/resource")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_ = resp.Body.Close()
		sent := api.got()
		if n := len(sent); (n == 2) != c.refreshed || n > 2 {
			t.Errorf("%s: sent %d times", c.name, n)
		}
		if c.refreshed {
			if resp.StatusCode != http.StatusOK || sent[1].auth != "Bearer "+sessiontest.Access(1) {
				t.Errorf("%s: status %d after %q", c.name, resp.StatusCode, sent[1].auth)
			}
		} else {
			want := []tokenclient.Challenge{{Scheme: "Bearer", Params: c.params}}
			if got := tokenclient.Challenges(resp); !reflect.DeepEqual(got, want) || resp.Status != c.status {
				t.Errorf("%s: status %q, challenges %v", c.name, resp.Status, got)
			}
		}
	}
}

// TestRFC6750ReadChallenges reads the challenge of each answer, also where the RFC breaks
// its lines.
func TestRFC6750ReadChallenges(t *testing.T) {
	for _, c := range rfc6750Answers {
		w := &rfcWire{answers: []string{"HTTP/1.1 " + c.status + "\nWWW-Authenticate: " + c.challenge}}
		resp, err := (&http.Client{Transport: w}).Get("https://server.example.com/resource")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		want := []tokenclient.Challenge{{Scheme: "Bearer", Params: c.params}}
		if got := tokenclient.Challenges(resp); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %v, want %v", c.name, got, want)
		}
	}
}

// TestRFC6750Certificate: no server whose certificate nobody vouches for gets a token,
// neither an API nor a token endpoint, and none is believed that says where tokens go (RFC
// 6749, section 10.9, RFC 6750, section 5.2, and RFC 8414, section 6.2).
func TestRFC6750Certificate(t *testing.T) {
	asked := make(chan string, 10)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	srv.Config.ErrorLog = discarded
	srv.StartTLS()
	defer srv.Close()
	client := &http.Client{Transport: new(http.Transport)} // does not know srv's authority
	defer client.CloseIdleConnections()
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{srv.URL} })
	auth := tokenclient.ClientSecretBasic("s6BhdRkqt3", "gX1fBat3bV")
	r := &tokenclient.OAuth2Refresher{TokenURL: srv.URL + "/token", RevocationURL: srv.URL + "/revoke", ClientAuth: auth, HTTPClient: client}
	old := &tokenclient.Token{RefreshToken: "tGzv3JOkF0XG5Qx2TlKWIA"}
	for name, call := range map[string]func() error{
		"API": func() error {
			resp, err := s.Wrap(client).Get(srv.URL + "/resource")
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		},
		"refresh": func() error { _, err := r.Refresh(t.Context(), old); return err },
		"login": func() error {
			_, err := r.Login(t.Context(), url.Values{"grant_type": {"authorization_code"}, "code": {"SplxlOBeZQQYbYS6WxSbIA"}})
			return err
		},
		"revoke": func() error { return r.Revoke(t.Context(), old) },
		"discovery": func() error {
			_, err := (&discovery.Client{HTTPClient: client}).Find(t.Context(), srv.URL)
			return err
		},
	} {
		err := call()
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: error %v", name, err)
		}
		if name != "API" && name != "discovery" {
			sessiontest.WantErr(t, name, err, tokenclient.ErrNotPresented)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the server was asked for %s", <-asked)
	}
}
