package origin_test

import (
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// TestEntries: what is refused as one of Config.Origins, without repeating a password or a key.
func TestEntries(t *testing.T) {
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
		"http://localho\u017ft":             "plain http",
		"https://api.example.com ":          "not a URL",
		" https://api.example.com":          "not a URL",
		"https://api.example.com\n":         "not a URL",
		"https://[::1":                      "not a URL",
		"https://[api.example.com]":         "not a URL",
		"https://api.example.com:https":     "not a URL",
		"https://api example.com":           "not a URL",
		"https://<tenant>.example.com":      "placeholder",
		"https://api.example.com:0":         "port that is not one of 1 to 65535",
		"https://api.example.com:99999":     "port that is not one of 1 to 65535",
		"https://u:geheim%zz@a.example.com": "",
		"https://a.example.com/?key=geheim": "more than scheme, host and port",
		"https://a.example.com#key=geheim":  "more than scheme, host and port",
		"https://a b.example.com/?k=geheim": `"https://a b.example.com/?…" is not a URL`,
		"api.example.com?key=geheim":        "does not begin with https",
		"u:geheim@a.example.com":            "",
	} {
		_, err := origin.New(origin.Settings{Origins: []string{"https://ok.example.com", entry}})
		checkEntryError(t, entry, err, "Config.Origins: ", why)
	}
}

// TestHosts: what is refused as one of Config.Hosts.
func TestHosts(t *testing.T) {
	for host, why := range map[string]string{
		"":                           "not a host",
		":443":                       "not a host",
		"api.example.com:":           "not a host",
		"api.example.com:https":      "not a host",
		"api.example.com:65536":      "not a host",
		"api.example.com/":           "not a host",
		"api.example.com?":           "not a host",
		"api.example.com#":           "not a host",
		"api example.com":            "not a host",
		"api.example.com\r\nX: y":    "not a host",
		"[::1%25eth0]":               "not a host",
		"fe80::1":                    "not a host",
		"[api.example.com]":          "not a host",
		"//api.example.com":          "not a host",
		"https://api.example.com":    "scheme",
		"*.example.com":              "wildcard",
		"*":                          "wildcard",
		"bücher.example":             "xn--",
		"user@api.example.com":       "user information",
		"u:geheim@example.com":       "user information",
		"api.example.com?key=geheim": "not a host",
		"https://a.b/?key=geheim":    "scheme",
		"*.example.com/#geheim":      "wildcard",
		"api.example.com":            "",
		"API.example.com:8443":       "",
		"[::1]:8080":                 "",
		"10.0.0.1":                   "",
	} {
		_, err := origin.New(origin.Settings{Origins: []string{"https://ok.example.com"}, Hosts: []string{"ok.example.com", host}})
		if why == "" {
			if err != nil {
				t.Errorf("%q: %v", host, err)
			}
			continue
		}
		checkEntryError(t, host, err, "Config.Hosts: ", why)
	}
}

func checkEntryError(t *testing.T, entry string, err error, field, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) || !strings.HasPrefix(err.Error(), field) {
		t.Errorf("%q: error %v, want one that says %q", entry, err, why)
	} else if strings.Contains(err.Error(), "geheim") {
		t.Errorf("%q: the error repeats the secret: %v", entry, err)
	}
}
