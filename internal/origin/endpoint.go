package origin

import (
	"net/url"
	"strings"
)

// An Endpoint is what a request to a token endpoint is known by: the scheme, "://",
// the host and port, and the path.
type Endpoint string

// ParseEndpoint reads the URL of a token endpoint, and reports whether it is one.
func ParseEndpoint(s string) (Endpoint, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", false
	}
	return Endpoint(sameText(u.Scheme+"://"+u.Host+u.Path, s)), true
}

// IsAt reports whether u is the endpoint.
func (e Endpoint) IsAt(u *url.URL) bool {
	if !strings.HasSuffix(string(e), u.Path) { // so it is for most
		return false
	}
	o, path := e.split()
	return path == u.Path && o.Equal(Of(u))
}

// Origin returns the endpoint's origin.
func (e Endpoint) Origin() Origin {
	o, _ := e.split()
	return o
}

func (e Endpoint) split() (o Origin, path string) {
	scheme, rest, _ := strings.Cut(string(e), "://")
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	return Of(&url.URL{Scheme: scheme, Host: rest[:end]}), rest[end:]
}
