package origin

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// An entry is one of Config.Origins: the scheme, "://", and the host and port as the
// entry has them.
type entry string

// parseEntry reads one of Config.Origins.
func parseEntry(s string, insecureHTTP bool) (entry, error) {
	bad := func(why string) (entry, error) {
		return "", fmt.Errorf("Config.Origins: %q %s; write it like \"https://api.example.com\"", Shown(s), why)
	}
	if strings.Contains(s, "@") { // a password, perhaps: not to be repeated
		return "", errors.New("Config.Origins: an entry has user information in it")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return bad("is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("does not begin with https:// or http://")
	case u.Hostname() == "" || u.Opaque != "":
		return bad("has no host")
	case strings.Contains(u.Host, "*"):
		return bad("has a wildcard")
	case strings.ContainsAny(u.Host, `<>"`):
		return bad("has a placeholder for its host")
	case !Of(u).HasPort():
		return bad("has a port that is not one of 1 to 65535")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return bad("has more than scheme, host and port")
	}
	if !Of(u).Secure() && !insecureHTTP {
		return bad("is plain http beyond this machine, where everybody on the way can read the token (Config.InsecureHTTP allows it)")
	}
	return entry(within(u.Scheme+"://"+u.Host, s)), nil
}

// is reports whether e is u's origin in so many words, which it mostly is.
func (e entry) is(u *url.URL) bool {
	// An entry begins with its scheme: where "://" is left, u's was that.
	host, same := strings.CutPrefix(strings.TrimPrefix(string(e), u.Scheme), "://")
	return same && host == u.Host
}

func (e entry) origin() Origin {
	scheme, host, _ := strings.Cut(string(e), "://")
	return at(scheme, host)
}

// checkHost reports what is wrong with one of Config.Hosts.
func checkHost(s string) error {
	bad := func(why string) error {
		return fmt.Errorf("Config.Hosts: %q %s; write it like \"api.example.com\" or \"api.example.com:8443\"", Shown(s), why)
	}
	switch {
	case strings.Contains(s, "@"):
		return errors.New("Config.Hosts: an entry has user information in it")
	case strings.Contains(s, "://"):
		return bad("has a scheme")
	case !isASCII(s):
		return bad("is not ASCII (an internationalized name begins with xn--)")
	case strings.Contains(s, "*"):
		return bad("has a wildcard")
	}
	u, err := url.Parse("https://" + s)
	if err != nil || u.Host != s || u.Hostname() == "" || !Of(u).HasPort() || strings.HasSuffix(s, ":") || strings.ContainsAny(s, "%<>\"") {
		return bad("is not a host")
	}
	return nil
}

// Shown is as much of an entry, which may be any text, as errors may say: no user information, no
// query and no fragment, in which passwords and keys travel.
func Shown(s string) string {
	s = s[strings.LastIndexByte(s, '@')+1:]
	if end := strings.IndexAny(s, "?#"); end >= 0 && end+1 < len(s) {
		return s[:end+1] + "…"
	}
	return s
}

// An endpoint is what a request to a token endpoint is known by: the scheme, "://",
// the host and port, and the path.
type endpoint string

// parseEndpoint reads the URL of a token endpoint, and reports whether it is one.
func parseEndpoint(s string) (endpoint, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", false
	}
	return endpoint(within(u.Scheme+"://"+u.Host+u.Path, s)), true
}

func (e endpoint) isAt(u *url.URL) bool {
	if !strings.HasSuffix(string(e), u.Path) { // so it is for most
		return false
	}
	o, path := e.split()
	return path == u.Path && o.Equal(Of(u))
}

func (e endpoint) split() (o Origin, path string) {
	scheme, rest, _ := strings.Cut(string(e), "://")
	host, _, _ := strings.Cut(rest, "/")
	return at(scheme, host), rest[len(host):]
}

// within returns s in the memory of in, of which it mostly is the beginning.
func within(s, in string) string {
	if strings.HasPrefix(in, s) {
		return in[:len(s)]
	}
	return s
}
