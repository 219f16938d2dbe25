// Package origin says where a token may go.
package origin

import (
	"net/netip"
	"net/url"
	"strings"
)

// An Origin is where a token may go (RFC 6454): scheme, host and port.
type Origin struct{ scheme, host, port string }

// Of returns u's origin without allocating: it is asked for every request. Its parts
// are compared by [Origin.Equal], which ignores case.
func Of(u *url.URL) Origin {
	o := Origin{u.Scheme, u.Hostname(), u.Port()}
	if o.port == "" {
		switch {
		case strings.EqualFold(o.scheme, "https"):
			o.port = "443"
		case strings.EqualFold(o.scheme, "http"):
			o.port = "80"
		}
	}
	return o
}

// Equal reports whether o and p are the same origin.
func (o Origin) Equal(p Origin) bool {
	return o.port == p.port && strings.EqualFold(o.host, p.host) && strings.EqualFold(o.scheme, p.scheme)
}

// Secure reports whether a token may go to o without being read on the way: over
// https, or within this machine.
func (o Origin) Secure() bool {
	return strings.EqualFold(o.scheme, "https") || o.IsLoopback()
}

// IsLoopback reports whether o is on this machine. A name other than localhost is not
// looked up: what it resolves to is not known to be what will be dialed.
func (o Origin) IsLoopback() bool {
	if strings.EqualFold(o.host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(o.host)
	return err == nil && addr.Unmap().IsLoopback()
}

// String returns o in lower case, always with its port.
func (o Origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return strings.ToLower(o.scheme + "://" + host + ":" + o.port)
}
