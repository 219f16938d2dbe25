package origin

import (
	"net/url"
	"strings"
)

// Outside reports whether a request to u goes out without the token because its origin is
// none of Config.Origins.
func (r *Rules) Outside(u *url.URL) bool {
	return u != nil && !r.inside(u) && !r.isEndpoint(u)
}

// Near returns the allowed origin that o may have been meant to be, and what the two differ
// in; "" if there is none like it.
func (r *Rules) Near(o Origin) (allowed, differ string) {
	best := len(differences)
	for _, e := range r.allowed[:r.origins] {
		p := e.origin()
		for i, d := range differences[:best] {
			if d.is(o, p) {
				best, allowed, differ = i, p.String(), d.name
				break
			}
		}
	}
	return allowed, differ
}

// differences are the ways in which an origin is often written wrong, the likeliest first.
var differences = []struct {
	name string
	is   func(o, p Origin) bool
}{
	{"scheme", func(o, p Origin) bool { return o.scheme != p.scheme && sameName(o.host, p.host) }},
	{"port", func(o, p Origin) bool { return o.scheme == p.scheme && sameName(o.host, p.host) }},
	{"name of this machine", func(o, p Origin) bool { return o.port == p.port && o.IsLoopback() && p.IsLoopback() }},
	{"trailing dot", func(o, p Origin) bool {
		return sameName(strings.TrimSuffix(o.host, "."), strings.TrimSuffix(p.host, "."))
	}},
	{"subdomain", func(o, p Origin) bool { return below(o.host, p.host) || below(p.host, o.host) }},
}

// below reports whether a is a name in the domain of b.
func below(a, b string) bool {
	n := len(a) - len(b)
	return n > 1 && strings.Contains(b, ".") && a[n-1] == '.' && sameName(a[n:], b)
}

// Clone returns o without the memory of the URL that it was read from.
func (o Origin) Clone() Origin {
	return Origin{strings.Clone(o.scheme), strings.Clone(o.host), strings.Clone(o.port)}
}
