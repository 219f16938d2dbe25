package tokenclient_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// FuzzOrigin: an entry that New accepts is https, or http on this machine, or was
// made legal by InsecureHTTP; it has no user information, path, query or fragment;
// a request to it gets the token; and one to the same host under another scheme
// or port does not.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{
		"https://api.example.com", "https://api.example.com:443/", "HTTPS://API.example.com", "http://localhost:8080",
		"http://127.0.0.1", "http://[::1]:1", "http://[fe80::1%25eth0]:1", "http://[::ffff:127.0.0.1]", "http://api.example.com", "https://u:p@h", "https://h/p",
		"https://h?q", "https://h#f", "https://*.h", "https://bücher.example", "https://h.", "https://h:0443", "https://h:99999", "https://h:", "https:h", "ftp://h", "",
		"https://ſ", "http://localhoſt", "https://a%C3%BCb", "https://a\\b", "https://ａ.example", "http://127.0.0.1:08080", "https://h:-1",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, entry string, insecure bool) {
		c := tokenclient.Config{Refresher: contractRefresher(), Origins: []string{entry}, InsecureHTTP: insecure}
		if _, err := tokenclient.New(c); err != nil {
			if !strings.HasPrefix(err.Error(), "tokenclient: Config.Origins: ") {
				t.Errorf("%q: error %v", entry, err)
			}
			return
		}
		u, err := url.Parse(entry)
		if err != nil {
			t.Fatalf("%q was accepted and is not a URL", entry)
		}
		if u.Scheme != "https" && (u.Scheme != "http" || !insecure && !originLocal(u.Hostname())) {
			t.Errorf("%q was accepted", entry)
		}
		if u.User != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") {
			t.Errorf("%q was accepted", entry)
		}
		same := *u
		same.Path, same.RawQuery = "/some/path", "q=1"
		if auth, _, err := originGot(t, func(to *tokenclient.Config) { *to = c }, &same); err != nil || auth != originToken {
			t.Errorf("%q was accepted, and its request got %q, %v", entry, auth, err)
		}
		for _, other := range originOthers(u) {
			if auth, _, err := originGot(t, func(to *tokenclient.Config) { *to = c }, other); auth != "" {
				t.Errorf("%q lets the token go to %s; error %v", entry, other, err)
			}
		}
	})
}

// originLocal is this machine by name or address, told without the package.
func originLocal(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil { // the fold of a letter that net/http would take for another one
		return strings.EqualFold(host, "localhost")
	}
	return a.IsLoopback() || a.Is4In6() && a.Unmap().IsLoopback()
}

// originOthers are URLs near u that are other origins.
func originOthers(u *url.URL) []*url.URL {
	scheme, port := *u, *u
	scheme.Scheme = map[string]string{"https": "http", "http": "https"}[u.Scheme]
	host := strings.TrimSuffix(u.Host, ":")
	if p := u.Port(); p != "" {
		host = strings.TrimSuffix(u.Host, ":"+p)
	}
	if scheme.Port() == "" {
		scheme.Host = host + map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	}
	port.Host = host + ":1" + u.Port()
	if u.Port() == "" {
		port.Host = host + ":4433"
	}
	return []*url.URL{&scheme, &port}
}
