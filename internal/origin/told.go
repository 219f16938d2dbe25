package origin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// told returns an error unless the server of req, whose origin is allowed, is told the
// URL's own host, or one of Config.Hosts, and no other.
func (r *Rules) told(req *http.Request) error {
	u := req.URL
	if req.Host != "" && req.Host != u.Host && !sameHost(u.Scheme, req.Host, u.Host) && !r.listed(u.Scheme, req.Host) {
		return refusal(req, fmt.Sprintf("the Host header would be %s, and the token is for %s; clear Request.Host "+
			"(in an httputil.ReverseProxy: Rewrite with ProxyRequest.SetURL does, NewSingleHostReverseProxy and Director do not), "+
			"or list it in Config.Hosts", shown(req.Host), shown(u.Host)))
	}
	if u.Opaque == "" && (u.Path == "" || u.Path[0] == '/') { // so it is for most
		return nil
	}
	if err := checkTarget(req); err != nil {
		return refusal(req, err.Error())
	}
	return nil
}

// refusal is the error for a request that would show the token to somebody else.
func refusal(req *http.Request, why string) error {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	return errors.New(method + " to " + Of(req.URL).String() + " is not sent: " + why)
}

// checkTarget reports what is wrong with the target in req's request line, which
// net/http makes of URL.Opaque, or of URL.Path as it is.
func checkTarget(req *http.Request) error {
	u := req.URL
	target, connect := u.Opaque, req.Method == http.MethodConnect
	if target == "" {
		target = u.Path
	}
	whole := strings.HasPrefix(u.Opaque, "//") // of a path, // is nothing special
	var host string                            // in the target
	switch {
	case target == "":
		return nil
	case connect && u.Path == "": // then net/http writes Opaque and nothing else
		host = u.Opaque
	case whole && !connect: // the target of CONNECT is no URL
		host = u.Opaque[len("//"):]
		if end := strings.IndexAny(host, "/?#"); end >= 0 {
			host = host[:end]
		}
	case target[0] == '/' && !whole, target == "*" && !connect:
		return nil
	case u.Opaque == "":
		return errors.New("URL.Path does not begin with a slash, so that a server may take its beginning for a host")
	default:
		return fmt.Errorf("URL.Opaque, the target in the request line, begins neither with a slash nor with // and the host %s", shown(hostOf(req)))
	}
	if host == "" || strings.Trim(host, plainHost) != "" || !sameHost(u.Scheme, host, hostOf(req)) {
		return fmt.Errorf("URL.Opaque names the host %s, and the Host header is %s", shown(host), shown(hostOf(req)))
	}
	return nil
}

// plainHost has the characters of hosts that mean the same in a request line and in a
// Host header. net/http makes the latter ASCII, leaves out the zone of an address, and
// leaves it empty rather than write what may not be in it; the former it writes as it is.
const plainHost = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"

// hostOf returns what net/http makes the Host header of.
func hostOf(req *http.Request) string {
	if req.Host != "" {
		return req.Host
	}
	return req.URL.Host
}

// listed reports whether host is one of Config.Hosts.
func (r *Rules) listed(scheme, host string) bool {
	for _, h := range r.allowed[r.origins:] {
		if sameHost(scheme, string(h), host) {
			return true
		}
	}
	return false
}

// sameHost reports whether a and b, each a host with or without a port, are the same
// for a request of that scheme.
func sameHost(scheme, a, b string) bool { return at(scheme, a).Equal(at(scheme, b)) }

// A headers says what a request's headers have in them.
type headers struct {
	own     bool // the one that the token goes into
	foreign bool // and that is to stay as it is
	stray   bool // a second Host
}

// scan looks for keys of h that say the same as others in another spelling, in which
// net/http sends them too. net/http ignores the key "Host" only.
func (r *Rules) scan(h http.Header, name string, ours func([]string) bool) (set headers) {
	for key, values := range h {
		if isKey(key, name) {
			set.own = true
			set.foreign = set.foreign || !r.replace && (ours == nil || !ours(values))
		}
		if key != "Host" && isKey(key, "Host") {
			set.stray = true
		}
	}
	return set
}

// isKey reports whether net/http sends key as the header of that name; "": as none.
func isKey(key, name string) bool {
	return len(key) == len(name) && name != "" && equalFold(key, name)
}

// Without returns a copy of h without the header of that name, in whatever spelling.
func Without(h http.Header, name string) http.Header {
	c := make(http.Header, len(h))
	for key, values := range h {
		if !isKey(key, name) {
			c[key] = values
		}
	}
	return c
}

// shown returns host as it may be in an error: it may be a stranger's, or have a
// password in it.
func shown(host string) string {
	const most = 100
	host = host[strings.LastIndexByte(host, '@')+1:]
	return fmt.Sprintf("%q", host[:min(len(host), most)])
}
