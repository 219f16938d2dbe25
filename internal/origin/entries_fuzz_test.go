package origin_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
)

// FuzzEntry: an entry that is accepted is https, or http on this machine, or was made
// legal by InsecureHTTP; it has no user information, path, query or fragment; a request
// to it gets the token; and one to the same host under another scheme or port does not.
func FuzzEntry(f *testing.F) {
	for _, seed := range []string{
		"https://api.example.com", "https://api.example.com:443/", "HTTPS://API.example.com", "http://localhost:8080",
		"http://127.0.0.1", "http://[::1]:1", "http://[fe80::1%25eth0]:1", "http://[::ffff:127.0.0.1]", "http://api.example.com", "https://u:p@h", "https://h/p",
		"https://h?q", "https://h#f", "https://*.h", "https://bücher.example", "https://h.", "https://h:0443", "https://h:99999", "https://h:", "https:h", "ftp://h", "",
		"https://ſ", "http://localhoſt", "https://a%C3%BCb", "https://a\\b", "https://ａ.example", "http://127.0.0.1:08080", "https://h:-1", "https://STRAẞE",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, entry string, insecure bool) {
		r, err := origin.New(origin.Settings{Origins: []string{entry}, InsecureHTTP: insecure})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "Config.Origins: ") {
				t.Errorf("%q: error %v", entry, err)
			}
			return
		}
		u, err := url.Parse(entry)
		if err != nil {
			t.Fatalf("%q was accepted and is not a URL", entry)
		}
		if u.Scheme != "https" && (u.Scheme != "http" || !insecure && !onThisMachine(u.Hostname())) {
			t.Errorf("%q was accepted", entry)
		}
		if u.User != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") {
			t.Errorf("%q was accepted", entry)
		}
		same := *u
		same.Path, same.RawQuery = "/some/path", "q=1"
		req := get(t, "https://placeholder.example/")
		req.URL, req.Host = &same, same.Host
		if attach, _, err := r.Judge(req, header, nil); err != nil || !attach {
			t.Errorf("%q was accepted, and its request: attach %v, error %v", entry, attach, err)
		}
		for _, other := range others(u) {
			req.URL, req.Host = other, other.Host
			if attach, _, err := r.Judge(req, header, nil); attach {
				t.Errorf("%q lets the token go to %s; error %v", entry, other, err)
			}
		}
	})
}

// onThisMachine is told without the package.
func onThisMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return wire.Lower(host) == "localhost"
	}
	return a.IsLoopback() || a.Is4In6() && a.Unmap().IsLoopback()
}

// others are URLs near u that are other origins.
func others(u *url.URL) []*url.URL {
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
