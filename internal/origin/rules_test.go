package origin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

const header = "Authorization"

func rules(tb testing.TB, s origin.Settings) *origin.Rules {
	tb.Helper()
	r, err := origin.New(s)
	if err != nil {
		tb.Fatal(err)
	}
	return &r
}

// get is a request for u as [http.NewRequest] makes it.
func get(tb testing.TB, u string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, u, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return req
}

// TestJudgeOrigins: which request belongs to which entry.
func TestJudgeOrigins(t *testing.T) {
	for _, tc := range []struct {
		entry, target string
		want          bool
	}{
		{"https://api.example.com", "https://api.example.com/x?y#z", true},
		{"https://api.example.com/", "https://api.example.com", true},
		{"https://API.Example.COM", "https://api.example.com/", true},
		{"https://api.example.com", "https://API.EXAMPLE.COM/", true},
		{"HTTPS://api.example.com", "https://api.example.com/", true},
		{"https://api.example.com", "https://api.example.com:443/", true},
		{"https://api.example.com:443", "https://api.example.com/", true},
		{"https://api.example.com:", "https://api.example.com/", true},
		{"https://api.example.com:8443", "https://api.example.com:8443/", true},
		{"https://api.example.com", "https://user:pass@api.example.com/", true},
		{"https://api.example.com", "https://api.example.com//evil.example/", true},
		{"http://localhost", "http://localhost:80/", true},
		{"http://[::1]:8080", "http://[::1]:8080/", true},
		{"http://127.0.0.1:1", "http://127.0.0.1:1/", true},
		{"https://bücher.example", "https://bücher.example/", true},
		{"https://straße.example", "https://straße.example/", true},

		{"https://api.example.com", "httpx://api.example.com/", false},
		{"https://api.example.com", "https://api.example.com:8443/", false},
		{"https://api.example.com", "https://api.example.com:80/", false},
		{"https://api.example.com", "https://www.api.example.com/", false},
		{"https://api.example.com", "https://example.com/", false},
		{"https://api.example.com", "https://api.example.com.evil.example/", false},
		{"https://api.example.com", "https://evil.example/api.example.com", false},
		{"https://api.example.com", "https://api.example.com@evil.example/", false},
		{"https://api.example.com", "https://api.example.com./", false},
		{"https://api.example.com.", "https://api.example.com/", false},
		{"https://api.example.com", "http://api.example.com/", false},
		{"https://api.example.com", "http://api.example.com:443/", false},
		{"https://localhost:1", "http://localhost:1/", false},
		{"http://127.0.0.1:1", "http://127.0.0.1:2/", false},
		{"http://127.0.0.1:1", "http://localhost:1/", false},
		{"http://[::1]:1", "http://127.0.0.1:1/", false},
		{"https://bücher.example", "https://xn--bcher-kva.example/", false},
		{"https://straße.example", "https://STRAẞE.example/", false},
		{"https://βόλος.example", "https://βόλοσ.example/", false},
		{"https://kelvin.example", "https://\u212aelvin.example/", false},
	} {
		r := rules(t, origin.Settings{Origins: []string{"https://first.example", tc.entry}})
		attach, _, err := r.Judge(get(t, tc.target), header, nil)
		if attach != tc.want || err != nil {
			t.Errorf("entry %s, request %s: attach %v, error %v; want %v", tc.entry, tc.target, attach, err, tc.want)
		}
		if got := r.Allows(parse(t, tc.target)); got != tc.want {
			t.Errorf("entry %s: Allows(%s) is %v", tc.entry, tc.target, got)
		}
	}
	if attach, _, err := new(origin.Rules).Judge(get(t, "https://api.example.com/"), header, nil); attach || err != nil {
		t.Errorf("the zero Rules: attach %v, error %v", attach, err)
	}
	if attach, _, err := new(origin.Rules).Judge(new(http.Request), header, nil); attach || err != nil {
		t.Errorf("no URL: attach %v, error %v", attach, err)
	}
}

// TestJudgePlainHTTP: beyond this machine no token goes over plain http unless that is
// spelled out, and the request does not go without it either.
func TestJudgePlainHTTP(t *testing.T) {
	for target, local := range map[string]bool{
		"http://localhost/":              true,
		"http://LOCALHOST:8080/":         false,
		"http://127.0.0.1/":              true,
		"http://[::1]/":                  true,
		"http://api.example.com/":        false,
		"http://localhost./":             false,
		"http://10.0.0.1/":               false,
		"http://127.1/":                  false,
		"http://user@api.example.com/":   false,
		"http://localhost@evil.example/": false,
		"ftp://api.example.com/":         false,
		"ws://api.example.com/":          false,
		"//api.example.com/":             false,
	} {
		for _, insecure := range []bool{false, true} {
			r := rules(t, origin.Settings{AnyOrigin: true, InsecureHTTP: insecure})
			attach, _, err := r.Judge(get(t, target), header, nil)
			switch want := local || insecure; {
			case want != attach || want != (err == nil) || r.Allows(parse(t, target)) != want:
				t.Errorf("%s, InsecureHTTP %v: attach %v, error %v", target, insecure, attach, err)
			case !want && !strings.Contains(err.Error(), "InsecureHTTP"):
				t.Errorf("%s: error %q does not say what to do", target, err)
			}
		}
	}
}

// TestJudgeUnknownChain: a redirect whose history cannot be seen is one from outside,
// and an endless chain is too.
func TestJudgeUnknownChain(t *testing.T) {
	const u = "https://api.example.com/"
	loop := get(t, u)
	loop.Response = &http.Response{Request: loop}
	for name, first := range map[string]*http.Response{
		"no request": {},
		"no URL":     {Request: new(http.Request)},
		"a loop":     {Request: loop},
	} {
		req := get(t, u)
		req.Response = first
		attach, _, err := rules(t, origin.Settings{Origins: []string{u}}).Judge(req, header, nil)
		if attach || err != nil {
			t.Errorf("%s: attach %v, error %v", name, attach, err)
		}
	}
}

// TestJudgeEndpoint: what goes to the session's own token endpoint is part of a
// refresh and goes bare; what only looks like it does not.
func TestJudgeEndpoint(t *testing.T) {
	r := rules(t, origin.Settings{
		Origins:   []string{"https://api.example.com", "https://bücher.example"},
		Endpoints: []string{"https://api.example.com/token?tenant=1", "", "%", "https://API.example.com:443/revoke", "https://bücher.example"},
	})
	for target, bare := range map[string]bool{
		"https://api.example.com/token":         true,
		"https://api.example.com/token?other=2": true,
		"https://api.example.com:443/token":     true,
		"https://api.example.com/revoke":        true,
		"https://bücher.example":                true,
		"https://api.example.com/token/more":    false,
		"https://api.example.com/":              false,
		"https://api.example.com":               false,
	} {
		if attach, _, err := r.Judge(get(t, target), header, nil); err != nil || attach == bare {
			t.Errorf("%s: attach %v, error %v", target, attach, err)
		}
	}
	if got := r.Endpoint().String(); got != "https://api.example.com:443" {
		t.Errorf("Endpoint %s", got)
	}
	if got := new(origin.Rules).Endpoint(); got != (origin.Origin{}) {
		t.Errorf("Endpoint of the zero Rules: %s", got)
	}
}

// TestJudgeAllocs: a request that gets the token costs nothing here, nor does one that
// gets none.
func TestJudgeAllocs(t *testing.T) {
	r := rules(t, origin.Settings{
		Origins: []string{"http://localhost:1", "https://api.example.com"}, Hosts: []string{"tenant.example.com"},
		Endpoints: []string{"https://api.example.com/token"},
	})
	plain, folded, told, chain := get(t, "https://api.example.com/"), get(t, "https://API.example.com:443/"), get(t, "https://api.example.com/"), get(t, "https://api.example.com/2")
	for i := range 20 {
		plain.Header.Set("X-Header-"+strings.Repeat("a", i), "x")
	}
	told.Host = "TENANT.example.com:443"
	told.URL.Opaque = "//tenant.example.com/x"
	chain.Response = &http.Response{Request: plain}
	for name, tc := range map[string]struct {
		req  *http.Request
		want bool
	}{
		"plain": {plain, true}, "folded": {folded, true}, "told": {told, true}, "chain": {chain, true},
		"elsewhere": {get(t, "https://other.example.com/"), false}, "localhost": {get(t, "http://localhost:1/"), true},
	} {
		var attach bool
		var err error
		if n := testing.AllocsPerRun(100, func() { attach, _, err = r.Judge(tc.req, header, nil) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if attach != tc.want || err != nil {
			t.Errorf("%s: attach %v, error %v", name, attach, err)
		}
	}
}

// TestJudgeProxy: plain http through a proxy shows the token to the proxy.
func TestJudgeProxy(t *testing.T) {
	proxy := func(s string) http.RoundTripper {
		return &http.Transport{Proxy: http.ProxyURL(parse(t, s))}
	}
	failed := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, http.ErrAbortHandler }}
	for _, tc := range []struct {
		name, target string
		base         http.RoundTripper
		insecure     bool
		want         string // in the error; "": none
	}{
		{"none", "http://localhost/", new(http.Transport), false, ""},
		{"returns nil", "http://localhost/", &http.Transport{Proxy: http.ProxyURL(nil)}, false, ""},
		{"another RoundTripper", "http://localhost/", http.NewFileTransport(http.Dir("")), false, ""},
		{"elsewhere", "http://localhost/", proxy("http://u:geheim@proxy.example:3128"), false, "http://proxy.example:3128"},
		{"elsewhere, by TLS", "http://127.0.0.1/", proxy("https://proxy.example"), false, "Config.InsecureHTTP"},
		{"elsewhere, SOCKS", "http://[::1]/", proxy("socks5://10.0.0.1:1080"), false, "http.Transport"},
		{"allowed", "http://localhost/", proxy("http://proxy.example"), true, ""},
		{"on this machine", "http://localhost/", proxy("http://127.0.0.1:3128"), false, ""},
		{"of https", "https://api.example.com/", proxy("http://proxy.example"), false, ""},
		{"failed", "http://localhost/", failed, false, http.ErrAbortHandler.Error()},
	} {
		err := rules(t, origin.Settings{AnyOrigin: true, InsecureHTTP: tc.insecure}).JudgeProxy(get(t, tc.target), tc.base)
		switch {
		case (err == nil) != (tc.want == ""):
			t.Errorf("%s: error %v", tc.name, err)
		case err != nil && !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s: error %q does not say %q", tc.name, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "geheim"):
			t.Errorf("%s: error %q repeats a password", tc.name, err)
		}
	}
}
