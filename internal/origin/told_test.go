package origin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
)

// toldTest is a request to an allowed origin that may tell the server another host.
type toldTest struct {
	name   string
	target string // "": https://api.example
	change func(*http.Request)
	hosts  []string
	why    string // in the error; "": none
}

func host(s string) func(*http.Request)   { return func(r *http.Request) { r.Host = s } }
func opaque(s string) func(*http.Request) { return func(r *http.Request) { r.URL.Opaque = s } }
func path(s string) func(*http.Request)   { return func(r *http.Request) { r.URL.Path = s } }
func key(s string) func(*http.Request) {
	return func(r *http.Request) { r.Header[s] = []string{"evil.example"} }
}

func connect(opaque, path string) func(*http.Request) {
	return func(r *http.Request) { r.Method, r.URL.Opaque, r.URL.Path = http.MethodConnect, opaque, path }
}

var (
	tenant    = []string{"other.example:8443", "tenant.example"}
	toldTests = []toldTest{
		{name: "nothing", change: func(*http.Request) {}},
		{name: "no Host", change: host("")},
		{name: "Host in capitals", change: host("API.EXAMPLE")},
		{name: "Host with the port", change: host("api.example:443")},
		{name: "Host with an empty port", change: host("api.example:")},
		{name: "Host without the port", target: "https://api.example:443", change: host("api.example")},
		{name: "Host in IDN", target: "https://straße.example", change: host("straße.example:443")},
		{name: "listed", change: host("tenant.example"), hosts: tenant},
		{name: "listed, in capitals", change: host("TENANT.example:443"), hosts: tenant},
		{name: "listed with a port", change: host("Other.example:8443"), hosts: tenant},

		{name: "stranger's Host", change: host("evil.example"), why: `the Host header would be "evil.example", and the token is for "api.example"`},
		{name: "not the one that is listed", change: host("evil.example"), hosts: tenant, why: "list it in Config.Hosts"},
		{name: "listed, on another port", change: host("tenant.example:8443"), hosts: tenant, why: "ProxyRequest.SetURL"},
		{name: "listed with another port", change: host("other.example"), hosts: tenant, why: "clear Request.Host"},
		{name: "subdomain", change: host("x.tenant.example"), hosts: tenant, why: `"x.tenant.example"`},
		{name: "Host with another port", change: host("api.example:80"), why: `"api.example:80"`},
		{name: "Host with a dot", change: host("api.example."), why: `"api.example."`},
		{name: "Host in brackets", change: host("[api.example]"), why: `"[api.example]"`},
		{name: "Host with a path", change: host("api.example/x"), why: "Host header"},
		{name: "Host that net/http makes empty", change: host(" "), why: "Host header"},
		{name: "Host in another IDN", target: "https://straße.example", change: host("STRAẞE.example"), why: "Host header"},
		{name: "Host in punycode", target: "https://straße.example", change: host("xn--strae-oqa.example"), why: "Host header"},
		{name: "Host with a password", change: host("u:geheim@evil.example"), why: `"evil.example"`},
		{name: "endless Host", change: host(strings.Repeat("e", 1<<20)), why: strings.Repeat("e", 100) + `", and`},

		{name: "path", change: opaque("/x%2Fy")},
		{name: "asterisk", change: opaque("*")},
		{name: "path of an asterisk", change: path("*")},
		{name: "whole URL", change: opaque("//api.example/x")},
		{name: "whole URL, in capitals", change: opaque("//API.example:443?x")},
		{name: "whole URL of what is listed", hosts: tenant, change: func(r *http.Request) { r.Host, r.URL.Opaque = "tenant.example", "//tenant.example" }},
		{name: "two slashes in the path", change: path("//evil.example/x")},

		{name: "another host", change: opaque("//evil.example/x"), why: `URL.Opaque names the host "evil.example", and the Host header is "api.example"`},
		{name: "another host, query", change: opaque("//evil.example?/api.example"), why: `"evil.example"`},
		{name: "another port", change: opaque("//api.example:80/x"), why: `"api.example:80"`},
		{name: "no host", change: opaque("///x"), why: `URL.Opaque names the host "", and`},
		{name: "password", change: opaque("//u:geheim@api.example/x"), why: "URL.Opaque"},
		{name: "backslash", change: opaque(`//api.example\@evil.example/x`), why: "URL.Opaque"},
		{name: "IDN in the request line", target: "https://straße.example", change: opaque("//straße.example/x"), why: "URL.Opaque"},
		{name: "zone in the request line", target: "https://[fe80::1%25eth0]", change: opaque("//[fe80::1%eth0]/x"), why: "URL.Opaque"},
		{name: "whole URL of what is listed, and another Host", hosts: tenant, change: opaque("//tenant.example/"), why: "URL.Opaque"},
		{name: "URL", change: opaque("https://evil.example/x"), why: "begins neither with a slash nor"},
		{name: "own URL", change: opaque("https://api.example/x"), why: "begins neither with a slash nor"},
		{name: "word", change: opaque("geheim"), why: "URL.Opaque"},
		{name: "URL as path", change: path("http://evil.example/x"), why: "URL.Path does not begin with a slash"},
		{name: "word as path", change: path(".evil.example/x"), why: "URL.Path"},
		{name: "user as path", change: path("@evil.example/x"), why: "URL.Path"},

		{name: "CONNECT", change: connect("", "")},
		{name: "CONNECT to itself", change: connect("api.example:443", "")},
		{name: "CONNECT with a path", change: connect("", "/x")},
		{name: "CONNECT elsewhere", change: connect("evil.example:443", ""), why: `"evil.example:443"`},
		{name: "CONNECT to an asterisk", change: connect("", "*"), why: "URL.Path"},
		{name: "CONNECT to an asterisk, opaque", change: connect("*", "/x"), why: "URL.Opaque"},
		{name: "CONNECT elsewhere, as URL", change: connect("//api.example/x", ""), why: "URL.Opaque"},
		{name: "CONNECT with a path, whole URL", change: connect("//api.example/x", "/x"), why: "URL.Opaque"},
		{name: "CONNECT with a path, elsewhere", change: connect("//evil.example/x", "/x"), why: "URL.Opaque"},

		{name: "key Host", change: key("Host")}, // which net/http ignores
		{name: "key host", change: key("host"), why: `a key "host"`},
		{name: "key HOST", change: key("HOST"), why: "delete it"},
		{name: "key hOST and a listed Host", hosts: tenant, change: func(r *http.Request) { r.Host = "tenant.example"; key("hOST")(r) }, why: "Request.Header"},
		{name: "key host, empty", change: func(r *http.Request) { r.Header["host"] = nil }, why: "Request.Header"},
	}
)

func (tc *toldTest) request(t *testing.T) *http.Request {
	target := tc.target
	if target == "" {
		target = "https://api.example"
	}
	req := get(t, target)
	tc.change(req)
	return req
}

// TestTold: a server that is told another host than the URL's gets no token, and the
// program an error. Until this was so, what is an error here was sent with the token.
func TestTold(t *testing.T) {
	for _, tc := range toldTests {
		for _, any := range []bool{false, true} {
			s := origin.Settings{Origins: []string{"https://api.example", "https://straße.example", "https://[fe80::1%25eth0]"}, Hosts: tc.hosts}
			if any {
				s.Origins, s.AnyOrigin = nil, true
			}
			attach, _, err := rules(t, s).Judge(tc.request(t), header, nil)
			switch {
			case attach != (tc.why == ""), attach != (err == nil):
				t.Errorf("%s, any origin %v: attach %v, error %v", tc.name, any, attach, err)
			case err != nil && (!strings.Contains(err.Error(), tc.why) || !strings.Contains(err.Error(), ":443 is not sent: ")):
				t.Errorf("%s: error %q does not say %q", tc.name, err, tc.why)
			case err != nil && (strings.Contains(err.Error(), "geheim") || len(err.Error()) > 500):
				t.Errorf("%s: error %q", tc.name, err)
			}
		}
	}
}

// TestToldIsWhatIsWritten: what is allowed above tells net/http's own server the URL's
// host or one that is listed, and what is not allowed is not refused without need: it
// tells another, or what no server understands.
func TestToldIsWhatIsWritten(t *testing.T) {
	needless := map[string]bool{
		"own URL": true, "password": true, "IDN in the request line": true, "Host in punycode": true, "word as path": true, "user as path": true,
		"Host with a dot": true, "word": true, "no host": true, "key host, empty": true, "CONNECT elsewhere, as URL": true,
		"whole URL of what is listed, and another Host": true, // two answers to one question
	}
	for _, tc := range toldTests {
		req := tc.request(t)
		want := map[string]string{"https://straße.example": "xn--strae-oqa.example", "https://[fe80::1%25eth0]": "[fe80::1]"}[tc.target]
		if want == "" {
			want = "api.example"
		}
		w := &wire.Wire{}
		resp, err := w.Transport().RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		good := err == nil
		for _, sent := range w.Sent() {
			told, ok := sent.Told()
			hosts := sent.Values("Host")
			good = good && ok && len(hosts) == 1
			for _, got := range append(hosts, told) {
				got = withoutPort("https", wire.Lower(got))
				good = good && (got == want || tc.hosts != nil && (got == "tenant.example" || got == "other.example:8443"))
			}
		}
		if tc.why == "" && !good {
			t.Errorf("%s is allowed, and net/http sends %+v, %v", tc.name, w.Sent(), err)
		}
		if tc.why != "" && good && !needless[tc.name] {
			t.Errorf("%s is an error, and net/http sends %+v", tc.name, w.Sent())
		}
	}
}

// TestToldMethod: the error says which request it is about.
func TestToldMethod(t *testing.T) {
	r := rules(t, origin.Settings{Origins: []string{"https://api.example"}})
	for method, want := range map[string]string{"": "GET to https://api.example:443 is not sent", "POST": "POST to https://api.example:443 is not sent"} {
		req := get(t, "https://api.example/")
		req.Method, req.Host = method, "evil.example"
		if _, _, err := r.Judge(req, header, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("method %q: error %v, want one that begins with %q", method, err, want)
		}
	}
}

// TestToldBare: a request that gets no token is nobody's business.
func TestToldBare(t *testing.T) {
	for _, tc := range toldTests {
		r := rules(t, origin.Settings{Origins: []string{"https://elsewhere.example"}})
		if attach, _, err := r.Judge(tc.request(t), header, nil); attach || err != nil {
			t.Errorf("%s, to an origin that is not allowed: attach %v, error %v", tc.name, attach, err)
		}
		r = rules(t, origin.Settings{AnyOrigin: true})
		req := tc.request(t)
		req.Header.Set(header, "Basic mine")
		if attach, _, err := r.Judge(req, header, nil); attach || err != nil {
			t.Errorf("%s, with the caller's own credentials: attach %v, error %v", tc.name, attach, err)
		}
	}
}

// TestToldChain: a hop that told its server another host counts as outside.
func TestToldChain(t *testing.T) {
	for _, tc := range toldTests {
		for _, any := range []bool{false, true} {
			s := origin.Settings{Origins: []string{"https://api.example", "https://straße.example", "https://[fe80::1%25eth0]"}, Hosts: tc.hosts}
			if any {
				s.Origins, s.AnyOrigin = nil, true
			}
			hop := tc.request(t)
			req := get(t, (&url.URL{Scheme: hop.URL.Scheme, Host: hop.URL.Host, Path: "/next"}).String())
			want := tc.why == ""
			if any && want && hop.Host != "" && len(tc.hosts) > 0 {
				req.Host = hop.Host
				last := *req
				last.Host, last.Response = "", &http.Response{Request: hop}
				if attach, _, _ := rules(t, s).Judge(&last, header, nil); attach {
					t.Errorf("%s: without a list the token followed a redirect from %s to %s", tc.name, hop.Host, last.URL)
				}
			}
			req.Response = &http.Response{Request: hop}
			if attach, _, err := rules(t, s).Judge(req, header, nil); attach != want || err != nil {
				t.Errorf("%s, any origin %v: after a redirect attach %v, error %v; want %v", tc.name, any, attach, err, want)
			}
		}
	}
}

// TestOwnHeader: the caller's choice counts in whatever spelling, also of a hop.
// Before, "authorization" went out beside the session's header.
func TestOwnHeader(t *testing.T) {
	r := rules(t, origin.Settings{Origins: []string{"https://api.example"}})
	for _, tc := range []struct {
		key, name string
		attach    bool
	}{
		{"Authorization", "Authorization", false},
		{"authorization", "Authorization", false},
		{"AUTHORIZATION", "Authorization", false},
		{"x-auth%token", "X-Auth%token", false},
		{"auth", "Auth", false},
		{"Authorizatio", "Authorization", true},
		{"Authorization2", "Authorization", true},
		{"Authorizatıon", "Authorization", true}, // which net/http refuses
		{"X-Authentify", "Authorization", true},
		{"authorization", "X-Auth-Token", true},
		{"authorization", "", true},
		{"", "", true},
	} {
		req := get(t, "https://api.example/")
		req.Header[tc.key] = []string{"x"}
		if attach, _, err := r.Judge(req, tc.name, nil); attach != tc.attach || err != nil {
			t.Errorf("key %q, header %q: attach %v, error %v", tc.key, tc.name, attach, err)
		}
		next := get(t, "https://api.example/")
		next.Response = &http.Response{Request: req}
		if attach, _, err := r.Judge(next, tc.name, nil); attach != tc.attach || err != nil {
			t.Errorf("key %q, header %q: after a redirect attach %v, error %v", tc.key, tc.name, attach, err)
		}
	}
	req := get(t, "https://api.example/")
	req.Header["host"] = []string{"evil.example"} // as long as the header's name
	if attach, _, err := r.Judge(req, "Auth", nil); attach || err == nil {
		t.Errorf("header Auth, key host: attach %v, error %v", attach, err)
	}
	if attach, _, err := r.Judge(&http.Request{URL: &url.URL{Scheme: "https", Host: "api.example"}}, header, nil); !attach || err != nil {
		t.Errorf("no header map: attach %v, error %v", attach, err)
	}
}

// TestOwnHeaderGivesWay: what the caller set in the token's header stays, unless it is the
// session's own, or the header is the session's to set.
func TestOwnHeaderGivesWay(t *testing.T) {
	mine := func(values []string) bool { return values[0] == "Bearer mine" }
	for _, tc := range []struct {
		replace bool
		value   string
		attach  bool
	}{
		{false, "Bearer mine", true},
		{false, "Basic theirs", false},
		{true, "Bearer mine", true},
		{true, "Basic theirs", true},
	} {
		r := rules(t, origin.Settings{Origins: []string{"https://api.example"}, ReplaceHeader: tc.replace})
		req := get(t, "https://api.example/")
		req.Header.Set(header, tc.value)
		if attach, own, err := r.Judge(req, header, mine); attach != tc.attach || !own || err != nil {
			t.Errorf("%s, replaced %v: attach %v, own %v, error %v", tc.value, tc.replace, attach, own, err)
		}
	}
}
