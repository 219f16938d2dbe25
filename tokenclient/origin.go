package tokenclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

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
	o := origin.Of(req.URL)
	if !s.allowed(o) || !s.chainAllowed(req, o) {
		return false, nil
	}
	if !s.insecureHTTP && !o.Secure() { // in this order: the latter may allocate
		return false, fmt.Errorf("tokenclient: no token is sent over plain http to %s; use https, or set Config.InsecureHTTP", o)
	}
	return true, nil
}

func (s *Session) allowed(o origin.Origin) bool {
	if s.anyOrigin {
		return true
	}
	for _, a := range s.origins {
		if a.Origin().Equal(o) {
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
func (s *Session) chainAllowed(req *http.Request, o origin.Origin) bool {
	for range maxRedirects {
		if req.Response == nil {
			return true
		}
		req = req.Response.Request
		if req == nil || req.URL == nil || s.callerSet(req) {
			return false
		}
		p := origin.Of(req.URL)
		if s.anyOrigin && !p.Equal(o) || !s.allowed(p) {
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
		if e.IsAt(u) {
			return true
		}
	}
	return false
}

// endpointsOf returns what r posts to, as far as that is known.
func endpointsOf(r Refresher) []origin.Endpoint {
	var urls [2]string
	switch r := r.(type) {
	case *OAuth2Refresher:
		urls = [...]string{r.TokenURL, r.RevocationURL}
	case *JSONRefresher:
		urls[0] = r.URL
	}
	var endpoints []origin.Endpoint
	for _, s := range urls {
		if e, ok := origin.ParseEndpoint(s); ok {
			endpoints = append(endpoints, e)
		}
	}
	return endpoints
}

type withoutTokenKey struct{}

// WithoutToken returns a context whose requests a [Transport] sends as they are,
// without a token and without looking at the answer: for login, public pages and
// other people's servers. It holds for the redirects of such a request too.
func WithoutToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTokenKey{}, true)
}

func withoutToken(ctx context.Context) bool { return ctx.Value(withoutTokenKey{}) != nil }
