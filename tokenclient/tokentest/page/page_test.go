package page_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest/page"
)

// hang keeps a test from hanging.
const hang = time.Minute

func mounted(t *testing.T, o *tokentest.Options) *tokentest.Server {
	t.Helper()
	srv := tokentest.NewServer(t, o)
	page.Mount(srv)
	return srv
}

// send sends a request; headers are names and values in turn.
func send(t *testing.T, srv *tokentest.Server, method, path string, form url.Values, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// do presses something that must work.
func do(t *testing.T, srv *tokentest.Server, path string, form ...string) string {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	resp, body := send(t, srv, "POST", path, values)
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %q: %s %s", path, form, resp.Status, body)
	}
	return body
}

// A stream is what a browser reads of /page/events.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	text  strings.Builder // all of it
}

func listen(t *testing.T, srv *tokentest.Server, lastID string) *stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/page/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %s", got)
	}
	s := &stream{t: t, lines: bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 16<<20)
	return s
}

// A message is one of a stream.
type message struct{ event, id, data string }

// next returns the next message; ok is false at the end.
func (s *stream) next() (m message, ok bool) {
	for s.lines.Scan() {
		line := s.lines.Text()
		s.text.WriteString(line + "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "event":
			m.event = value
		case "id":
			m.id = value
		case "data":
			m.data = value
		case "":
			if m.event != "" {
				return m, true
			}
		}
	}
	return m, false
}

// events reads until there were so many events, and returns these and how many were missed.
func (s *stream) events(n int) (all []map[string]any, gone int, id string) {
	s.t.Helper()
	for len(all) < n {
		m, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended after %d events", len(all))
		}
		if m.event != "events" {
			continue
		}
		var batch struct {
			Gone   int
			Events []map[string]any
		}
		if err := json.Unmarshal([]byte(m.data), &batch); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, batch.Events...)
		gone += batch.Gone
		id = m.id
	}
	return all, gone, id
}

// TestScenes: with the library every session is kept, and without it every one is lost.
func TestScenes(t *testing.T) {
	for name, o := range map[string]*tokentest.Options{
		"defaults": nil,
		"wording":  {Header: "X-Auth-Token", Opaque: true, NoExpiresIn: true},
		"scheme":   {Dialect: tokentest.Dialect{Scheme: "Token"}},
		"HTTP/2":   {HTTP2: true},
		"proofs":   {DPoP: &tokentest.DPoP{TokenNonce: true, APINonce: true}, ClientSecret: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := mounted(t, o)
			for _, scene := range []string{"stampede", "two", "kill"} {
				for _, library := range []bool{false, true} {
					if o != nil && o.DPoP != nil && !library {
						resp, why := send(t, srv, "POST", "/page/run", url.Values{"scene": {scene}, "library": {"false"}})
						if resp.StatusCode != http.StatusConflict || !strings.Contains(why, "proofs") {
							t.Errorf("%s %s", resp.Status, why)
						}
						continue
					}
					var got struct {
						Asked, Answered, Refreshes int
						Lost                       bool
						Text                       string
					}
					body := do(t, srv, "/page/run", "scene", scene, "library", fmt.Sprint(library))
					if err := json.Unmarshal([]byte(body), &got); err != nil {
						t.Fatal(err)
					}
					if got.Lost == library || library && got.Refreshes != 1 || !library && got.Refreshes < 2 {
						t.Errorf("%s, library %v: %+v", scene, library, got)
					}
					if wanted := got.Asked - map[string]int{"kill": 1}[scene]; library && got.Answered != wanted {
						t.Errorf("%s: %+v, want %d answered", scene, got, wanted)
					}
				}
			}
		})
	}
}

// TestDemands: with the library the person is asked once, and every request is answered. Without
// it a demand is taken for an expired token.
func TestDemands(t *testing.T) {
	for name, o := range map[string]*tokentest.Options{
		"scope":            {Demands: []tokentest.Demand{{Scope: "write"}}},
		"strength":         {Demands: []tokentest.Demand{{Path: "/api/orders", ACRValues: "mfa", MaxAge: time.Hour}}},
		"claims":           {Demands: []tokentest.Demand{{Claims: `{"id_token":{}}`}}},
		"strength, proofs": {DPoP: &tokentest.DPoP{APINonce: true}, Demands: []tokentest.Demand{{ACRValues: "mfa"}}},
		"elsewhere":        {Demands: []tokentest.Demand{{Path: "/api/payments", ACRValues: "mfa"}}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := mounted(t, o)
			want := 1
			if name == "elsewhere" {
				want = 0
			}
			for _, scene := range []string{"stampede", "two"} {
				before := srv.Counters().Demands
				var got struct {
					Asked, Answered int
					Lost            bool
					Text            string
				}
				body := do(t, srv, "/page/run", "scene", scene, "library", "true")
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					t.Fatal(err)
				}
				if n := srv.Counters().Demands - before; got.Lost || got.Answered != got.Asked || n != want {
					t.Errorf("%s: %d demands, %+v", scene, n, got)
				}
			}
			if name == "strength" {
				if body := do(t, srv, "/page/run", "scene", "stampede", "library", "false"); !strings.Contains(body, `"lost":true`) {
					t.Errorf("without the library: %s", body)
				}
			}
		})
	}
}

// TestNoToken: no token is in anything that the page says, whatever is done.
func TestNoToken(t *testing.T) {
	for _, opaque := range []bool{false, true} {
		srv := mounted(t, &tokentest.Options{Opaque: opaque})
		token := srv.Issue("alice")
		send(t, srv, "GET", "/api/"+token.AccessToken, nil, "Authorization", "Bearer "+token.AccessToken, "User-Agent", "x "+token.AccessToken)
		answer, body := send(t, srv, "POST", "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}})
		var pair struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal([]byte(body), &pair); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %v", answer.Status, err)
		}
		send(t, srv, "POST", "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}})
		send(t, srv, "POST", "/oauth/revoke", url.Values{"token": {pair.Refresh}})
		s := listen(t, srv, "")
		s.events(5)
		_, page := send(t, srv, "GET", "/", nil)
		all := s.text.String() + page
		for _, secret := range []string{token.AccessToken, token.RefreshToken, pair.Access, pair.Refresh} {
			for _, part := range strings.Split(secret, ".") {
				if len(part) > 20 && strings.Contains(all, part) && !strings.HasPrefix(part, "eyJhbGciOi") {
					t.Errorf("part of a token (%d bytes) is shown", len(part))
				}
			}
		}
	}
}

// TestStream: a browser is told the state and the events, goes on where it was, gets no more
// than the last 1,000, and is let go when the server is closed.
func TestStream(t *testing.T) {
	srv := mounted(t, nil)
	s := listen(t, srv, "")
	if m, ok := s.next(); !ok || m.event != "state" || !strings.Contains(m.data, `"access-lifetime":"0s"`) {
		t.Errorf("%+v", m)
	}
	srv.Issue("alice")
	got, gone, id := s.events(1)
	if got[0]["kind"] != "issue" || got[0]["user"] != "alice" || gone != 0 || id != "1" {
		t.Errorf("%v, %d gone, id %s", got, gone, id)
	}
	for range 1500 {
		srv.Issue("bob")
	}
	again := listen(t, srv, "1")
	got, gone, id = again.events(1000)
	if len(got) != 1000 || gone != 500 || id != "1501" {
		t.Errorf("%d events, %d gone, id %s", len(got), gone, id)
	}
	if late := listen(t, srv, "99999"); late != nil { // an id of another server's
		if got, gone, _ := late.events(1000); len(got) != 1000 || gone != 501 {
			t.Errorf("%d events, %d gone", len(got), gone)
		}
	}
	srv.Close()
	for ended := time.Now().Add(hang); ; {
		if _, ok := again.next(); !ok {
			break
		}
		if time.Now().After(ended) {
			t.Fatal("the stream goes on")
		}
	}
}

// TestClose: a server that is closed ends the client that a browser has started.
func TestClose(t *testing.T) {
	srv := mounted(t, nil)
	s := listen(t, srv, "")
	done := make(chan error, 1)
	go func() {
		resp, err := srv.Client().PostForm(srv.URL+"/page/run", url.Values{"scene": {"steady"}, "library": {"true"}})
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	s.events(3)
	srv.Close()
	select {
	case <-done:
	case <-time.After(hang):
		t.Error("it goes on")
	}
}

// TestKnobs: each option of the server has a control, but for those that cannot be changed, and
// each control says what is wrong with nonsense.
func TestKnobs(t *testing.T) {
	srv := mounted(t, nil)
	for name, value := range map[string]string{
		"access-lifetime": "1s", "refresh-lifetime": "1m", "clock-skew": "-1s", "no-rotation": "true", "reuse-grace": "2s",
		"max-uses": "3", "latency": "1ms", "lag": "2ms", "dialect": "Slack", "header": "x-auth-token", "sliding-header": "true",
		"opaque": "true", "no-expires-in": "true", "milliseconds": "true", "client-secret": "quiet",
		"token-nonce": "true", "api-nonce": "true", "nonce-uses": "4", "nonce-lifetime": "1m", "proof-window": "5s",
		"demand-path": "/api/payments", "demand-scope": "read write", "demand-acr": "mfa", "demand-age": "6m", "demand-claims": `{"id_token":{}}`,
	} {
		do(t, srv, "/page/set", "name", name, "value", value)
	}
	srv.Set(func(o *tokentest.Options) {
		if o.AccessLifetime != time.Second || o.RefreshLifetime != time.Minute || o.ClockSkew != -time.Second || !o.NoRotation ||
			o.ReuseGrace != 2*time.Second || o.MaxUses != 3 || o.Latency != time.Millisecond || o.Lag != 2*time.Millisecond ||
			o.Dialect.Refused == nil || o.Header != "X-Auth-Token" || !o.SlidingHeader || !o.Opaque || !o.NoExpiresIn || !o.Milliseconds {
			t.Errorf("%+v", o)
		}
		if o.DPoP == nil || *o.DPoP != (tokentest.DPoP{TokenNonce: true, APINonce: true, NonceUses: 4, NonceLifetime: time.Minute, Window: 5 * time.Second}) {
			t.Errorf("%+v", o.DPoP)
		}
		if len(o.Demands) != 1 || o.Demands[0] != (tokentest.Demand{Path: "/api/payments", Scope: "read write", ACRValues: "mfa", MaxAge: 6 * time.Minute, Claims: `{"id_token":{}}`}) {
			t.Errorf("%+v", o.Demands)
		}
		fixed := map[string]bool{"InMemory": true, "HTTP2": true}
		for _, part := range []reflect.Value{reflect.ValueOf(*o), reflect.ValueOf(*o.DPoP), reflect.ValueOf(o.Demands[0])} {
			for i := range part.NumField() {
				if name := part.Type().Field(i).Name; part.Field(i).IsZero() && !fixed[name] {
					t.Errorf("no control sets %s.%s", part.Type(), name)
				}
			}
		}
	})
	s := listen(t, srv, "")
	if m, _ := s.next(); !strings.Contains(m.data, `"dialect":"Slack"`) || !strings.Contains(m.data, `"max-uses":"3"`) || !strings.Contains(m.data, `"dpop":"true"`) || !strings.Contains(m.data, `"demand-acr":"mfa"`) {
		t.Errorf("%+v", m)
	}
	// Off again. What a program demands beside the page's stays.
	srv.Set(func(o *tokentest.Options) { o.Demands = append(o.Demands, tokentest.Demand{Scope: "its own"}) })
	for _, name := range []string{"demand-path", "demand-scope", "demand-acr", "demand-claims"} {
		do(t, srv, "/page/set", "name", name, "value", "")
	}
	for name, value := range map[string]string{"demand-age": "0s", "dpop": "false"} {
		do(t, srv, "/page/set", "name", name, "value", value)
	}
	srv.Set(func(o *tokentest.Options) {
		if o.DPoP != nil || len(o.Demands) != 1 || o.Demands[0].Scope != "its own" {
			t.Errorf("%+v %+v", o.DPoP, o.Demands)
		}
	})
	for _, name := range []string{"token-nonce", "api-nonce"} { // what is off already turns nothing on
		do(t, srv, "/page/set", "name", name, "value", "false")
	}
	srv.Set(func(o *tokentest.Options) {
		if o.DPoP != nil {
			t.Errorf("%+v", o.DPoP)
		}
	})
	for _, form := range []url.Values{
		{"name": {"latency"}, "value": {"7"}}, {"name": {"max-uses"}, "value": {"-1"}}, {"name": {"opaque"}, "value": {"?"}},
		{"name": {"dialect"}, "value": {"none"}}, {"name": {"header"}, "value": {"a b"}}, {"name": {"nothing"}},
		{"name": {"dpop"}, "value": {"?"}}, {"name": {"nonce-uses"}, "value": {"x"}}, {"name": {"proof-window"}, "value": {"7"}},
		{"name": {"demand-path"}, "value": {"api"}}, {"name": {"demand-scope"}, "value": {"a\"b"}}, {"name": {"demand-acr"}, "value": {"a\nb"}},
		{"name": {"demand-age"}, "value": {"old"}}, {"name": {"demand-claims"}, "value": {"[]"}},
	} {
		if resp, _ := send(t, srv, "POST", "/page/set", form); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %s", form, resp.Status)
		}
	}
}

func TestDo(t *testing.T) {
	srv := mounted(t, nil)
	api := func(access string) int {
		t.Helper()
		resp, _ := send(t, srv, "GET", "/api/x", nil, "Authorization", "Bearer "+access)
		return resp.StatusCode
	}
	refresh := func(token string) int {
		t.Helper()
		resp, _ := send(t, srv, "POST", "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
		return resp.StatusCode
	}
	a := srv.Issue("alice")
	do(t, srv, "/page/do", "what", "expire")
	if got := api(a.AccessToken); got != 401 {
		t.Errorf("expire: %d", got)
	}
	b := srv.Issue("alice")
	do(t, srv, "/page/do", "what", "revoke-access", "user", "alice")
	if got := api(b.AccessToken); got != 401 {
		t.Errorf("revoke access: %d", got)
	}
	do(t, srv, "/page/do", "what", "fail", "n", "1", "status", "503", "retry-after", "7")
	if got := refresh(b.RefreshToken); got != 503 {
		t.Errorf("fail: %d", got)
	}
	do(t, srv, "/page/do", "what", "fail", "n", "-1", "status", "500", "api", "true")
	do(t, srv, "/page/do", "what", "fail", "n", "0", "status", "500", "api", "true")
	do(t, srv, "/page/do", "what", "revoke-all", "user", "alice")
	if got := refresh(b.RefreshToken); got != 400 {
		t.Errorf("revoke all: %d", got)
	}
	c := srv.Issue("bob")
	do(t, srv, "/page/do", "what", "hold")
	held := make(chan int, 1)
	go func() { held <- api(c.AccessToken) }()
	for srv.Counters().Requests < 3 { // it has arrived
		runtime.Gosched()
	}
	select {
	case got := <-held:
		t.Errorf("held, and answered %d", got)
	default:
	}
	do(t, srv, "/page/do", "what", "hold")
	if got := <-held; got != 200 {
		t.Errorf("released: %d", got)
	}
	for _, form := range []url.Values{
		{}, {"what": {"revoke-all"}}, {"what": {"fail"}, "n": {"x"}}, {"what": {"fail"}, "n": {"1"}, "status": {"7"}},
		{"what": {"fail"}, "n": {"1"}, "status": {"500"}, "retry-after": {"soon"}},
	} {
		if resp, _ := send(t, srv, "POST", "/page/do", form); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %s", form, resp.Status)
		}
	}
}

// TestForeign: pages of others press no button, whatever name leads to this machine.
func TestForeign(t *testing.T) {
	srv := mounted(t, nil)
	turn := url.Values{"name": {"opaque"}, "value": {"true"}}
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	for name, test := range map[string]struct {
		headers []string
		want    int
	}{
		"no browser":           {nil, 204},
		"the page":             {[]string{"Origin", srv.URL, "Sec-Fetch-Site", "same-origin"}, 204},
		"by another name":      {[]string{"Host", "localhost" + port, "Origin", "http://localhost" + port}, 204},
		"another site":         {[]string{"Origin", "http://evil.example"}, 403},
		"another port":         {[]string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, 403},
		"a file, or a sandbox": {[]string{"Origin", "null"}, 403},
		"without an Origin":    {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"rebinding":            {[]string{"Host", "evil.example" + port, "Origin", "http://evil.example" + port, "Sec-Fetch-Site", "same-origin"}, 421},
	} {
		srv.Set(func(o *tokentest.Options) { o.Opaque = false })
		resp, body := send(t, srv, "POST", "/page/set", turn, test.headers...)
		turned := false
		srv.Set(func(o *tokentest.Options) { turned = o.Opaque })
		if resp.StatusCode != test.want || turned != (test.want == 204) {
			t.Errorf("%s: %s %s, turned: %v", name, resp.Status, body, turned)
		}
	}
	if resp, _ := send(t, srv, "GET", "/", nil, "Host", "evil.example"); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("by a foreign name: %s", resp.Status)
	}
	for _, path := range []string{"/page/set", "/page/do", "/page/run"} {
		if resp, _ := send(t, srv, "GET", path, nil); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	if resp, _ := send(t, srv, "POST", "/page/set", url.Values{"name": {strings.Repeat("x", 1<<20)}}); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a large form: %s", resp.Status)
	}
}

// TestDocument: the page is made of its own files alone, which a browser is told, and has
// neither scripts nor styles in it.
func TestDocument(t *testing.T) {
	srv := mounted(t, nil)
	for path, contentType := range map[string]string{"/": "text/html", "/page/style.css": "text/css", "/page/script.js": "text/javascript"} {
		resp, body := send(t, srv, "GET", path, nil)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), contentType) || len(body) < 1000 {
			t.Errorf("%s: %s %s, %d bytes", path, resp.Status, resp.Header.Get("Content-Type"), len(body))
		}
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'"} {
			if !strings.Contains(resp.Header.Get("Content-Security-Policy"), want) {
				t.Errorf("%s: %s", path, resp.Header.Get("Content-Security-Policy"))
			}
		}
		for _, bad := range []string{" onclick=", " style=", "<style", "https://", "innerHTML", "eval("} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	if got := srv.Counters(); got != (tokentest.Counters{}) {
		t.Errorf("%+v", got)
	}
	if resp, _ := send(t, srv, "GET", "/page/nothing", nil); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
}

func TestRunErrors(t *testing.T) {
	srv := mounted(t, nil)
	if resp, _ := send(t, srv, "POST", "/page/run", url.Values{"scene": {"none"}}); resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
	srv.Set(func(o *tokentest.Options) { o.DPoP = new(tokentest.DPoP) })
	if resp, _ := send(t, srv, "POST", "/page/run", url.Values{"scene": {"two"}}); resp.StatusCode != http.StatusConflict {
		t.Error(resp.Status)
	}
}
