package origin

import (
	"fmt"
	"net/http"
	"net/url"
)

// Settings are what [Rules] are made from. Their fields are those of the same name in
// tokenclient.Config.
type Settings struct {
	Origins      []string
	Hosts        []string
	AnyOrigin    bool
	InsecureHTTP bool
	Endpoints    []string // where the session itself refreshes or revokes

	ReplaceHeader bool
}

// Rules say where a token may go. They do not change, and can be shared. The zero value
// allows nothing.
type Rules struct {
	// Config.Origins, and after them, as they are, Config.Hosts. They are together
	// because there are as many Rules as sessions.
	allowed      []entry
	endpoints    []endpoint
	origins      int32 // how many of allowed are origins
	anyOrigin    bool
	insecureHTTP bool
	replace      bool
}

// New makes Rules. An error names the field that is wrong.
func New(s Settings) (Rules, error) {
	r := Rules{anyOrigin: s.AnyOrigin, insecureHTTP: s.InsecureHTTP, replace: s.ReplaceHeader, origins: int32(len(s.Origins))}
	r.allowed = make([]entry, 0, len(s.Origins)+len(s.Hosts))
	for _, text := range s.Origins {
		e, err := parseEntry(text, s.InsecureHTTP)
		if err != nil {
			return Rules{}, err
		}
		r.allowed = append(r.allowed, e)
	}
	for _, host := range s.Hosts {
		if err := checkHost(host); err != nil {
			return Rules{}, err
		}
		r.allowed = append(r.allowed, entry(host))
	}
	for _, text := range s.Endpoints {
		if e, ok := parseEndpoint(text); ok {
			r.endpoints = append(r.endpoints, e)
		}
	}
	return r, nil
}

// InsecureHTTP reports whether the token may go over plain http beyond this machine.
func (r *Rules) InsecureHTTP() bool { return r.insecureHTTP }

// Endpoint returns where the session refreshes, as far as that is known.
func (r *Rules) Endpoint() Origin {
	if len(r.endpoints) == 0 {
		return Origin{}
	}
	o, _ := r.endpoints[0].split()
	return o
}

// Allows reports whether the token may go to u's origin.
func (r *Rules) Allows(u *url.URL) bool {
	return r.inside(u) && (r.insecureHTTP || Of(u).Secure())
}

// Judge reports whether req gets the token, which goes into the header of that
// canonical name; "": into none that is known. own says that the caller has set that
// header: if attach is true it gives way, else it is why. ours is asked whether the values
// that the caller set, in one spelling of the name, are the session's own; nil: they never
// are. An error means that req must not be sent.
func (r *Rules) Judge(req *http.Request, header string, ours func(values []string) bool) (attach, own bool, err error) {
	u := req.URL
	if u == nil || !r.inside(u) || r.isEndpoint(u) {
		return false, false, nil
	}
	set := r.scan(req.Header, header, ours)
	if set.foreign || !r.chainInside(req, header, ours) {
		return false, set.foreign, nil
	}
	if u.Scheme != "https" && !r.insecureHTTP { // in this order: the next may allocate
		if o := Of(u); !o.Secure() {
			return false, false, fmt.Errorf("no token is sent over plain http to %s; use https, or set Config.InsecureHTTP", o)
		}
	}
	if err := r.told(req); err != nil {
		return false, false, err
	}
	if set.stray {
		return false, false, refusal(req, `Request.Header has a key "host", in whatever spelling but "Host", which would be sent beside the Host header; delete it`)
	}
	return true, set.own, nil
}

// JudgeProxy is asked about a request that gets the token and goes to base. It is an
// error if base is known to show it to a proxy that is elsewhere.
func (r *Rules) JudgeProxy(req *http.Request, base http.RoundTripper) error {
	if req.URL.Scheme != "http" || r.insecureHTTP {
		return nil
	}
	t, ok := base.(*http.Transport)
	if !ok || t.Proxy == nil {
		return nil
	}
	proxy, err := t.Proxy(req)
	switch {
	case err != nil:
		return err
	case proxy == nil || Of(proxy).IsLoopback():
		return nil
	}
	return refusal(req, fmt.Sprintf("over plain http, the proxy %s could read the token; have Proxy of the http.Transport return nil for this host, or set Config.InsecureHTTP", Of(proxy)))
}

// inside reports whether u's origin is allowed.
func (r *Rules) inside(u *url.URL) bool {
	if r.anyOrigin {
		return true
	}
	origins := r.allowed[:r.origins]
	for _, e := range origins {
		if e.is(u) {
			return true
		}
	}
	o := Of(u)
	for _, e := range origins {
		if e.origin().Equal(o) {
			return true
		}
	}
	return false
}

// isEndpoint reports whether u is where the session itself refreshes or revokes. Such
// a request may be part of a refresh, for which it must not wait.
func (r *Rules) isEndpoint(u *url.URL) bool {
	for _, e := range r.endpoints {
		if e.isAt(u) {
			return true
		}
	}
	return false
}

// maxRedirects bounds the walk along a redirect chain. [http.Client] follows 10.
const maxRedirects = 50

// chainInside reports whether every request that was redirected to req might have
// carried the token as well. A request whose caller chose the credentials keeps having
// none of ours after net/http dropped them on the way, unless they were ours.
func (r *Rules) chainInside(req *http.Request, header string, ours func([]string) bool) bool {
	hop := req
	for range maxRedirects {
		if hop.Response == nil {
			return true
		}
		hop = hop.Response.Request
		if hop == nil || hop.URL == nil || !r.inside(hop.URL) || r.told(hop) != nil {
			return false
		}
		if set := r.scan(hop.Header, header, ours); set.foreign || set.stray {
			return false
		}
		if r.anyOrigin && !sameServer(hop, req) {
			return false
		}
	}
	return false
}

// sameServer reports whether a and b go to the same origin and tell it the same host.
func sameServer(a, b *http.Request) bool {
	return Of(a.URL).Equal(Of(b.URL)) && sameHost(a.URL.Scheme, hostOf(a), hostOf(b))
}
