package origin

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// An Origin is a scheme, a host and a port. It is comparable; [Origin.Equal] ignores
// the case of ASCII letters, which == does not.
type Origin struct {
	scheme string
	host   string // with the brackets of an IPv6 address
	port   string
}

// Of returns u's origin. It does not allocate.
func Of(u *url.URL) Origin { return at(u.Scheme, u.Host) }

// at returns the origin of a URL with that scheme and Host.
func at(scheme, hostport string) Origin {
	o := Origin{scheme: scheme, host: hostport}
	o.port = (&url.URL{Host: hostport}).Port()
	if o.port != "" {
		o.host = hostport[:len(hostport)-len(o.port)-len(":")]
		return o
	}
	o.host = strings.TrimSuffix(hostport, ":")
	switch scheme {
	case "https":
		o.port = "443"
	case "http":
		o.port = "80"
	}
	return o
}

// Equal reports whether o and p are the same origin.
func (o Origin) Equal(p Origin) bool {
	return o.port == p.port && o.scheme == p.scheme && sameName(o.host, p.host)
}

// HasPort reports whether o's port is one that can be dialed.
func (o Origin) HasPort() bool {
	n, err := strconv.ParseUint(o.port, 10, 16)
	return err == nil && n > 0
}

// Secure reports whether a token may go to o without being read on the way: over
// https, or within this machine.
func (o Origin) Secure() bool { return o.scheme == "https" || o.IsLoopback() }

// IsLoopback reports whether o is on this machine. A name other than localhost is not
// looked up: what it resolves to is not known to be what will be dialed. LOCALHOST is none:
// net/http takes only the small letters for this machine, and sends the rest to HTTP_PROXY.
func (o Origin) IsLoopback() bool {
	if o.host == "localhost" {
		return true
	}
	host := o.host
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// String returns o with its port, and with ASCII letters in lower case.
func (o Origin) String() string {
	s := []byte(o.scheme + "://" + o.host + ":" + o.port)
	for i, c := range s {
		s[i] = lower(c)
	}
	return string(s)
}

// sameName reports whether a and b, hosts without port, are the same: equal, or ASCII
// and equal but for the case of letters. What follows a "%" is the name of a network
// interface, whose case matters.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	return isASCII(a) && !strings.Contains(a, "%") && equalFold(a, b)
}

// equalFold reports whether a and b are equal but for the case of ASCII letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
