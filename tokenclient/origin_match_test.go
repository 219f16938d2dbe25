package tokenclient_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// originGot sends a request to target through a session that allows entry, and
// returns what Base got as Authorization. sent is false if Base got nothing.
func originGot(t testing.TB, change func(*tokenclient.Config), target *url.URL) (auth string, sent bool, err error) {
	t.Helper()
	s := contractSession(t, change)
	base := &contractBase{answers: []contractAnswer{{status: 200}}}
	_, err = s.Transport(base).RoundTrip((&http.Request{Method: http.MethodGet, URL: target}).WithContext(t.Context()))
	if len(base.sent) == 0 {
		return "", false, err
	}
	return strings.Join(base.sent[0].auth, "|"), true, err
}

// TestOriginMatch: which request belongs to which entry.
func TestOriginMatch(t *testing.T) {
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
		{"http://localhost", "http://localhost:80/", true},
		{"http://[::1]:8080", "http://[::1]:8080/", true},
		{"http://127.0.0.1:1", "http://127.0.0.1:1/", true},
		{"https://bücher.example", "https://bücher.example/", true},

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
	} {
		u, err := url.Parse(tc.target)
		if err != nil {
			t.Fatal(err)
		}
		auth, sent, err := originGot(t, func(c *tokenclient.Config) { c.Origins = []string{tc.entry} }, u)
		if err != nil || !sent || (auth == originToken) != tc.want || !tc.want && auth != "" {
			t.Errorf("entry %s, request %s: Authorization %q, error %v; want token: %v", tc.entry, tc.target, auth, err, tc.want)
		}
	}
}

// TestOriginPlainHTTP: beyond this machine no token goes over plain http unless
// that is spelled out, and the request does not go without it either.
func TestOriginPlainHTTP(t *testing.T) {
	for target, local := range map[string]bool{
		"http://localhost/":              true,
		"http://LOCALHOST:8080/":         true,
		"http://127.0.0.1/":              true,
		"http://127.9.9.9/":              true,
		"http://[::1]/":                  true,
		"http://[::ffff:127.0.0.1]/":     true,
		"http://api.example.com/":        false,
		"http://localhost.example.com/":  false,
		"http://localhost.":              false,
		"http://10.0.0.1/":               false,
		"http://0.0.0.0/":                false,
		"http://[::]/":                   false,
		"http://127.1/":                  false,
		"http://2130706433/":             false,
		"http://127.0.0.1.example/":      false,
		"http://[::ffff:10.0.0.1]/":      false,
		"http://169.254.169.254/":        false,
		"http://user@api.example.com/":   false,
		"http://localhost@evil.example/": false,
		"ftp://api.example.com/":         false,
		"ws://api.example.com/":          false,
		"//api.example.com/":             false,
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, insecure := range []bool{false, true} {
			auth, sent, err := originGot(t, func(c *tokenclient.Config) {
				c.Origins, c.AnyOrigin, c.InsecureHTTP = nil, true, insecure
			}, u)
			switch want := local || insecure; {
			case want && (err != nil || auth != originToken):
				t.Errorf("%s, InsecureHTTP %v: Authorization %q, error %v", target, insecure, auth, err)
			case !want && (err == nil || sent):
				t.Errorf("%s: sent %v with %q, want an error before that", target, sent, auth)
			case !want && !strings.Contains(err.Error(), "InsecureHTTP"):
				t.Errorf("%s: error %q does not say what to do", target, err)
			}
		}
	}
}

// TestOriginEntries: what New refuses as an entry, without repeating a password.
func TestOriginEntries(t *testing.T) {
	for entry, why := range map[string]string{
		"":                                  "does not begin with https",
		"api.example.com":                   "does not begin with https",
		"api.example.com:443":               "",
		"//api.example.com":                 "does not begin with https",
		"ftp://api.example.com":             "does not begin with https",
		"https:api.example.com":             "has no host",
		"https://":                          "has no host",
		"https://:443":                      "has no host",
		"https:///x":                        "has no host",
		"https://*.example.com":             "wildcard",
		"https://api.example.com/v1":        "more than scheme, host and port",
		"https://api.example.com?x=1":       "more than scheme, host and port",
		"https://api.example.com?":          "more than scheme, host and port",
		"https://api.example.com#x":         "more than scheme, host and port",
		"https://user@api.example.com":      "user information",
		"https://u:geheim@api.example.com":  "user information",
		"http://api.example.com":            "plain http",
		"http://10.0.0.1:8080":              "plain http",
		"https://api.example.com ":          "not a URL",
		" https://api.example.com":          "not a URL",
		"https://api.example.com\n":         "not a URL",
		"https://[::1":                      "not a URL",
		"https://api.example.com:https":     "not a URL",
		"https://api example.com":           "not a URL",
		"https://u:geheim%zz@a.example.com": "",
		"u:geheim@a.example.com":            "",
	} {
		c := tokenclient.Config{Refresher: contractRefresher(), Origins: []string{"https://ok.example.com", entry}}
		_, err := tokenclient.New(c)
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "Config.Origins") {
			t.Errorf("%q: error %v, want one that says %q", entry, err, why)
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: the error repeats the password: %v", entry, err)
		}
	}
}
