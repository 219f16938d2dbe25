package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// origin is where a token may go (RFC 6454): scheme, host and port.
type origin struct{ scheme, host, port string }

// originOf returns u's origin without allocating: it is asked for every request.
// Its parts are compared by [origin.equal], which ignores case.
func originOf(u *url.URL) origin {
	o := origin{u.Scheme, u.Hostname(), u.Port()}
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

func (o origin) equal(p origin) bool {
	return o.port == p.port && strings.EqualFold(o.host, p.host) && strings.EqualFold(o.scheme, p.scheme)
}

// secure reports whether a token may go to o without being read on the way:
// over https, or within this machine.
func (o origin) secure() bool {
	return strings.EqualFold(o.scheme, "https") || isLoopback(o.host)
}

func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return strings.ToLower(o.scheme + "://" + host + ":" + o.port)
}

// isLoopback reports whether host, a name or an address without port, is this
// machine. A name other than localhost is not looked up: what it resolves to is
// not known to be what will be dialled.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// parseOrigin reads an entry of Config.Origins.
func parseOrigin(s string, insecureHTTP bool) (allowedOrigin, error) {
	bad := func(why string) (allowedOrigin, error) {
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
	o := originOf(u)
	if !o.secure() && !insecureHTTP {
		return bad("is plain http beyond this machine, where everybody on the way can read the token (Config.InsecureHTTP allows it)")
	}
	return allowedOrigin(sameText(u.Scheme+"://"+u.Host, s)), nil
}

// allowedOrigin is an entry of Config.Origins: the scheme, "://", and the host and
// port as the entry has them.
type allowedOrigin string

func (a allowedOrigin) origin() origin {
	scheme, host, _ := strings.Cut(string(a), "://")
	return originOf(&url.URL{Scheme: scheme, Host: host})
}

// maxRedirects bounds the walk along a redirect chain. [http.Client] follows 10.
const maxRedirects = 50

// mayAttach reports whether req gets the token. It is an error for a token to be
// wanted where it could be read on the way.
func (s *Session) mayAttach(req *http.Request) (bool, error) {
	if req.URL == nil || withoutToken(req.Context()) || s.callerSet(req) || s.ownEndpoint(req.URL) {
		return false, nil
	}
	// Most requests need no closer look: https, written as in the Config.
	if req.Response == nil && req.URL.Scheme == "https" {
		if s.anyOrigin {
			return true, nil
		}
		for _, a := range s.origins {
			if host, ok := strings.CutPrefix(string(a), "https://"); ok && host == req.URL.Host {
				return true, nil
			}
		}
	}
	o := originOf(req.URL)
	if !s.allowed(o) || !s.chainAllowed(req, o) {
		return false, nil
	}
	if !s.insecureHTTP && !o.secure() { // in this order: the latter may allocate
		return false, fmt.Errorf("tokenclient: no token is sent over plain http to %s; use https, or set Config.InsecureHTTP", o)
	}
	return true, nil
}

func (s *Session) allowed(o origin) bool {
	if s.anyOrigin {
		return true
	}
	for _, a := range s.origins {
		if a.origin().equal(o) {
			return true
		}
	}
	return false
}

// chainAllowed reports whether every request that was redirected to req might
// have carried the token as well. Whoever can make an allowed server redirect
// must not learn what a token opens elsewhere: once a chain has left the allowed
// origins it never gets the token back, and an unknown link counts as outside.
// A request whose caller chose the credentials keeps having none of ours after
// net/http dropped them on the way.
func (s *Session) chainAllowed(req *http.Request, o origin) bool {
	for range maxRedirects {
		if req.Response == nil {
			return true
		}
		req = req.Response.Request
		if req == nil || req.URL == nil || s.callerSet(req) {
			return false
		}
		p := originOf(req.URL)
		if s.anyOrigin && !p.equal(o) || !s.allowed(p) {
			return false
		}
	}
	return false
}

// callerSet reports whether the caller chose the credentials of req.
func (s *Session) callerSet(req *http.Request) bool {
	if s.header == "" {
		return false
	}
	_, set := req.Header[s.header]
	return set
}

// ownEndpoint reports whether u is where the session itself refreshes or revokes.
// Such a request may be part of a refresh, for which it must not wait.
func (s *Session) ownEndpoint(u *url.URL) bool {
	for _, e := range s.endpoints {
		if e.isAt(u) {
			return true
		}
	}
	return false
}

// endpoint is what a request to an endpoint is known by: the scheme, "://", the host
// and port, and the path.
type endpoint string

func (e endpoint) isAt(u *url.URL) bool {
	if !strings.HasSuffix(string(e), u.Path) { // so it is for most
		return false
	}
	o, path := e.split()
	return path == u.Path && o.equal(originOf(u))
}

func (e endpoint) split() (o origin, path string) {
	scheme, rest, _ := strings.Cut(string(e), "://")
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	return originOf(&url.URL{Scheme: scheme, Host: rest[:end]}), rest[end:]
}

// endpointsOf returns what r posts to, as far as that is known.
func endpointsOf(r Refresher) []endpoint {
	var urls [2]string
	switch r := r.(type) {
	case *OAuth2Refresher:
		urls = [...]string{r.TokenURL, r.RevocationURL}
	case *JSONRefresher:
		urls[0] = r.URL
	}
	var endpoints []endpoint
	for _, s := range urls {
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			endpoints = append(endpoints, endpoint(sameText(u.Scheme+"://"+u.Host+u.Path, s)))
		}
	}
	return endpoints
}

// sameText returns s in the memory of in, of which it mostly is the beginning.
func sameText(s, in string) string {
	if strings.HasPrefix(in, s) {
		return in[:len(s)]
	}
	return s
}

type withoutTokenKey struct{}

// WithoutToken returns a context whose requests a [Transport] sends as they are,
// without a token and without looking at the answer: for login, public pages and
// other people's servers. It holds for the redirects of such a request too.
func WithoutToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTokenKey{}, true)
}

func withoutToken(ctx context.Context) bool { return ctx.Value(withoutTokenKey{}) != nil }
