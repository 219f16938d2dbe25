package dpop_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

var bound = &tokenclient.Token{AccessToken: "a", TokenType: "DPoP"}

// proofOf returns the claims of the proof that p puts on req.
func proofOf(t testing.TB, p *dpop.Prover, req *http.Request) (claims map[string]any, err error) {
	t.Helper()
	if err := p.Attach(req, bound); err != nil {
		return nil, err
	}
	return split(t, req.Header.Get("DPoP"))[1], nil
}

// TestTarget: htu is the URL as the server sees it.
func TestTarget(t *testing.T) {
	p := &dpop.Prover{Signer: signerFor(t, "EdDSA")}
	for raw, want := range map[string]string{
		"https://api.example.com":                       "https://api.example.com/",
		"https://api.example.com?q=1#f":                 "https://api.example.com/",
		"HTTPS://API.Example.COM:443/A/b?q=1":           "https://api.example.com/A/b",
		"http://localhost:80/x":                         "http://localhost/x",
		"http://localhost:8080/x":                       "http://localhost:8080/x",
		"https://localhost:80/x":                        "https://localhost:80/x",
		"https://[2001:DB8::1]:443/x":                   "https://[2001:db8::1]/x",
		"http://[fe80::1%25eth0]:8080/x":                "http://[fe80::1]:8080/x",
		"https://user:secret@api.example.com/x":         "https://api.example.com/x",
		"https://api.example.com/a%2Fb/%C3%BC/%7e;v=1/": "https://api.example.com/a%2Fb/%C3%BC/%7e;v=1/",
		"https://api.example.com/ü ~":                   "https://api.example.com/%C3%BC%20~",
		"https://api.example.com//a/../b/./":            "https://api.example.com//a/../b/./",
		"https://api.example.com:/x":                    "https://api.example.com/x",
	} {
		req, err := http.NewRequestWithContext(t.Context(), "", raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := proofOf(t, p, req)
		if err != nil || claims["htu"] != want || claims["htm"] != "GET" {
			t.Errorf("%s: %v, %v, want %s", raw, claims, err, want)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"https://virtual.example/x":          func(r *http.Request) { r.Host = "Virtual.example:443" },
		"https://api.example.com/a%2fb":      func(r *http.Request) { r.URL.Opaque = "//api.example.com/a%2fb?x" },
		"https://api.example.com/opaque":     func(r *http.Request) { r.URL.Opaque = "/opaque" },
		"":                                   func(r *http.Request) { r.URL = new(url.URL) },
		"not https":                          func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no host":                            func(r *http.Request) { r.URL.Host, r.Host = "", "" },
		"no host either":                     func(r *http.Request) { r.Host = ":443" },
		"no name in ASCII":                   func(r *http.Request) { r.Host = "bücher.example" },
		"no path":                            func(r *http.Request) { r.URL.Path = "*" },
		"no path of its own, but a line\nof": func(r *http.Request) { r.Host = "a\nb" },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		claims, err := proofOf(t, p, req)
		if strings.HasPrefix(name, "https") && (err != nil || claims["htu"] != name) {
			t.Errorf("%v, %v, want %s", claims, err, name)
		} else if !strings.HasPrefix(name, "https") && (err == nil || !strings.HasPrefix(err.Error(), "dpop: no proof") || req.Header["Dpop"] != nil) {
			t.Errorf("%s: %v, %v", name, claims, err)
		}
	}
}

// FuzzTarget: for any request that net/http writes and a server reads, htu is what that server
// makes of the request line and the Host header, and htm is the method.
func FuzzTarget(f *testing.F) {
	for _, raw := range []string{
		"https://api.example.com", "http://LOCALHOST:80/a%2Fb?q#f", "https://[::1]:443/ü", "https://h:0443/%zz", "https://h//x/../y;p=%22",
		"https://h/a b", "https://h/%00", "https://u:p@h:8443/x", "https://h/'\"<>\\^`{|}", "http://h:443/[a]", "https://h/%2e%2e/?",
	} {
		f.Add(raw, "", "GET")
		f.Add(raw, "virtual.example:8080", "PATCH")
	}
	p := &dpop.Prover{Signer: signerFor(f, "EdDSA")}
	f.Fuzz(func(t *testing.T, raw, host, method string) {
		req, err := http.NewRequestWithContext(t.Context(), method, raw, nil)
		if err != nil {
			return
		}
		if host != "" {
			req.Host = host
		}
		claims, err := proofOf(t, p, req)
		if err != nil {
			if req.Header["Dpop"] != nil || !strings.HasPrefix(err.Error(), "dpop: ") {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		var wire bytes.Buffer
		if err := req.Write(&wire); err != nil {
			return // such a request is never sent
		}
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			return
		}
		path, _, _ := strings.Cut(got.RequestURI, "?")
		authority := strings.ToLower(got.Host)
		for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
			if strings.EqualFold(req.URL.Scheme, scheme) {
				authority = strings.TrimSuffix(authority, port)
			}
		}
		want := strings.ToLower(req.URL.Scheme) + "://" + strings.TrimSuffix(authority, ":") + path
		if claims["htu"] != want || claims["htm"] != got.Method {
			t.Errorf("%q, Host %q: htu %q, want %q; htm %q", raw, host, claims["htu"], want, claims["htm"])
		}
	})
}
