package origin

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// An Entry is an entry of Config.Origins: the scheme, "://", and the host and port as
// the entry has them.
type Entry string

// ParseEntry reads an entry of Config.Origins.
func ParseEntry(s string, insecureHTTP bool) (Entry, error) {
	bad := func(why string) (Entry, error) {
		return "", fmt.Errorf("tokenclient: Config.Origins: %q %s; write it like \"https://api.example.com\"", s, why)
	}
	if strings.Contains(s, "@") { // a password, perhaps: not to be repeated
		return "", errors.New("tokenclient: Config.Origins: an entry has user information in it")
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
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return bad("has more than scheme, host and port")
	}
	if !Of(u).Secure() && !insecureHTTP {
		return bad("is plain http beyond this machine, where everybody on the way can read the token (Config.InsecureHTTP allows it)")
	}
	return Entry(sameText(u.Scheme+"://"+u.Host, s)), nil
}

// Origin returns the entry's origin.
func (e Entry) Origin() Origin {
	scheme, host, _ := strings.Cut(string(e), "://")
	return Of(&url.URL{Scheme: scheme, Host: host})
}

// sameText returns s in the memory of in, of which it mostly is the beginning.
func sameText(s, in string) string {
	if strings.HasPrefix(in, s) {
		return in[:len(s)]
	}
	return s
}
