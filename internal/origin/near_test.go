package origin_test

import (
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// TestNear: what people write wrong is named.
func TestNear(t *testing.T) {
	rules, err := origin.New(origin.Settings{
		Origins:   []string{"https://api.example.com", "http://127.0.0.1:8080", "https://example.org:8443"},
		Endpoints: []string{"https://auth.example.com/token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		url             string
		outside         bool
		allowed, differ string
	}{
		{"https://api.example.com/x?token=secret", false, "", ""},
		{"https://auth.example.com/token", false, "", ""},
		{"http://api.example.com/", true, "https://api.example.com:443", "scheme"},
		{"http://api.example.com:8080/", true, "https://api.example.com:443", "scheme"},
		{"https://api.example.com:8443/", true, "https://api.example.com:443", "port"},
		{"https://API.example.com:444/", true, "https://api.example.com:443", "port"},
		{"http://localhost:8080/", true, "http://127.0.0.1:8080", "name of this machine"},
		{"http://[::1]:8080/", true, "http://127.0.0.1:8080", "name of this machine"},
		{"http://localhost:8081/", true, "", ""},
		{"https://api.example.com./", true, "https://api.example.com:443", "trailing dot"},
		{"https://v2.api.example.com/", true, "https://api.example.com:443", "subdomain"},
		{"https://www.example.org/", true, "https://example.org:8443", "subdomain"},
		{"https://org/", true, "", ""},
		{"https://.example.org/", true, "", ""},
		{"https://evilexample.org/", true, "", ""},
		{"https://unrelated.example.net/", true, "", ""},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := rules.Outside(u); got != tc.outside {
			t.Errorf("%s: outside: %v", tc.url, got)
		}
		if !tc.outside {
			continue
		}
		o := origin.Of(u)
		if allowed, differ := rules.Near(o); allowed != tc.allowed || differ != tc.differ {
			t.Errorf("%s: near %q, which differs in its %q; want %q, %q", tc.url, allowed, differ, tc.allowed, tc.differ)
		}
		if !o.Clone().Equal(o) {
			t.Errorf("%s: a clone is another origin", tc.url)
		}
	}
}
