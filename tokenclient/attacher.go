package tokenclient

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// An Attacher puts a token on a request. The default is [Bearer]. One that wraps another can
// add what it likes, such as a time stamp or a signature.
//
// An Attacher is safe for concurrent use. It may have a method Validate, as a [Refresher] may,
// and one more, if what it makes of a token may be refused although the token is good: a
// proof of a key (package dpop), or a signature with the time in it.
//
//	Answered(req *http.Request, resp *http.Response, t *Token) (again bool)
//
// It is told of each answer to a request that it attached t to, a success too, and learns
// what it likes from it. It must not read the body but by [PeekBody], and must return soon.
// again says that resp is no refusal of t, and that the same request, attached anew, may be
// accepted. It is sent again then, body included, beside the one replay after a refresh, and
// at most three times for each request whatever the server answers; then the caller gets the
// answer. So does a caller whose request must not, or cannot, be sent again. Nothing is
// refreshed for such an answer. Whenever a request is sent again, req.Response is in Attach the
// answer that it had before; its body is closed. An Attacher that wraps another passes the
// question on.
//
// One that embeds [Bearer] or a [HeaderAttacher] may have an Attach and a HeaderName of its
// own, which go before theirs.
type Attacher interface {
	// HeaderName is the header that Attach sets. A request on which the caller
	// set it already, in whatever spelling, is sent untouched, unless it is the session's
	// own token that was set (see Config.ReplaceHeader). "": Attach sets none.
	HeaderName() string

	// Attach changes req, a copy that belongs to it: the URL, the headers and the form
	// are not the caller's. (So is the trailer, of which changes are not sent: the
	// caller's may be filled in while the body is read.) It must not change t. An error
	// fails the request.
	//
	// A token in the URL is in the logs of servers and proxies. It is not in the errors
	// of this package, nor in the Referer of a redirect.
	Attach(req *http.Request, t *Token) error
}

// Bearer is the default [Attacher]: the Authorization header of RFC 6750, section
// 2.1. The scheme is the token's type if that is DPoP or MAC, in any case, and Bearer
// for all others: servers write many things there that are no schemes, such as
// jwt-bearer, N_A, or a URN. For a scheme that the server does not name so make an Attacher
// of your own.
type Bearer struct {
	// Schemes are further types of tokens that are schemes of the Authorization header
	// (RFC 9110, section 11.1), as a list separated by spaces. Empty: none.
	Schemes string
}

// Validate reports what in Schemes can be no scheme.
func (b Bearer) Validate() error {
	for _, s := range strings.Fields(b.Schemes) {
		if !isHeaderName(s) {
			return fmt.Errorf(`Bearer.Schemes has %q, which is no scheme (RFC 9110, section 11.1); write it like "Custom Other"`, s)
		}
	}
	return nil
}

// HeaderName returns "Authorization".
func (Bearer) HeaderName() string { return "Authorization" }

// Attach sets the header.
func (b Bearer) Attach(req *http.Request, t *Token) error { return setHeader(req, b, t) }

func (b Bearer) headerValue(t *Token) (string, error) {
	return endpoint.Scheme(t.TokenType, strings.Fields(b.Schemes)...) + " " + t.AccessToken, nil
}

// A HeaderAttacher is an [Attacher] that puts the bare access token into the
// header it names, such as HeaderAttacher("X-Auth-Token"). [New] refuses a name that
// cannot be a header's, and Host, Content-Length, Transfer-Encoding and Trailer, which
// net/http sets by itself.
type HeaderAttacher string

// HeaderName returns the name in canonical form.
func (h HeaderAttacher) HeaderName() string { return textproto.CanonicalMIMEHeaderKey(string(h)) }

// Attach sets the header.
func (h HeaderAttacher) Attach(req *http.Request, t *Token) error { return setHeader(req, h, t) }

func (h HeaderAttacher) headerValue(t *Token) (string, error) { return t.AccessToken, nil }

// valueAttacher is an Attacher that sets one header, whose value depends on the
// token alone, so that a session makes it once per token.
type valueAttacher interface {
	Attacher
	headerValue(t *Token) (string, error)
}

// asValueAttacher returns a as one, nil if a is none. It goes by a's own type, not by its
// methods: headerValue is promoted to whatever embeds a Bearer, whose Attach may do
// something else.
func asValueAttacher(a Attacher) valueAttacher {
	switch a := a.(type) {
	case Bearer:
		return a
	case *Bearer:
		return a
	case HeaderAttacher:
		return a
	case *HeaderAttacher:
		return a
	}
	return nil
}

func setHeader(req *http.Request, a valueAttacher, t *Token) error {
	v, err := a.headerValue(t)
	if err == nil {
		req.Header.Set(a.HeaderName(), v)
	}
	return err
}

var errRequestHeader = errors.New(`is a header that net/http does not take from where an Attacher puts it; name another, like "X-Auth-Token"`)

// checkHeader reports what is wrong with the header that a, in field, puts a token into.
func checkHeader(field string, a Attacher) error {
	if check.Nil(a) {
		return fmt.Errorf("%s holds a nil pointer, a %T; assign one that points to something", field, a)
	}
	h, own := a.(HeaderAttacher)
	if own && h == "" {
		return fmt.Errorf(`%s: HeaderAttacher("") names no header; write it like HeaderAttacher("X-Auth-Token")`, field)
	}
	name := a.HeaderName()
	if name != "" && !isHeaderName(name) {
		// The name is left out: who confuses the two puts the token here.
		return fmt.Errorf(`%s names what is not a header name (RFC 9110, section 5.1); write it like HeaderAttacher("X-Auth-Token")`, field)
	}
	if !own {
		return nil
	}
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return fmt.Errorf("%s: HeaderAttacher(%q) %w", field, name, errRequestHeader)
	}
	return nil
}

// checkAttacher reports what is wrong with an Attacher that is in field.
func checkAttacher(field string, a Attacher) error {
	if err := checkHeader(field, a); err != nil {
		return err
	}
	return check.Part(field, a)
}

// answerer is an Attacher that is told of the answers.
type answerer interface {
	Answered(req *http.Request, resp *http.Response, t *Token) (again bool)
}

// isOurs reports whether all values that a caller set for the header that carries the token
// are access tokens of s, each by itself or behind a scheme: such as a client sets who was
// given one, and cannot be kept from it.
func (s *Session) isOurs(values []string) bool {
	for _, v := range values {
		scheme, token, found := strings.Cut(strings.TrimSpace(v), " ")
		if !found || !isHeaderName(scheme) {
			scheme, token = "", v
		}
		if token = strings.TrimSpace(token); !s.wasOurs(token) && (scheme == "" || !s.wasOurs(v)) {
			return false
		}
	}
	return len(values) > 0
}

// wasOurs reports whether access is a token of the login that s has, for whatever audience.
func (s *Session) wasOurs(access string) bool {
	if p, ok := s.store.(*partStore); ok {
		s = p.whole
	}
	return s.hasHeld(access) || slices.ContainsFunc(s.parts, func(part *Session) bool { return part.hasHeld(access) })
}

// hasHeld reports whether s holds access, or did so since the last logout, as far as it
// remembers.
func (s *Session) hasHeld(access string) (has bool) {
	h := s.holds()
	switch {
	case access == "":
		return false
	case h.usable() && subtle.ConstantTimeCompare([]byte(h.record.Token.AccessToken), []byte(access)) == 1:
		return true
	}
	s.ask(func(*state, time.Time) { has = s.former.Has(access) })
	return has
}

// isHeaderName reports whether s is a token of RFC 9110, section 5.6.2.
func isHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// withHeader returns a copy of h in which name has value. The values are shared,
// which is legal because nobody below a RoundTripper may change them.
func withHeader(h http.Header, name string, value []string) http.Header {
	var c http.Header
	switch len(h) {
	case 0:
		return http.Header{name: value}
	case 8, 14, 28, 56, 112:
		// A copy would be full, and allocated a second time for one header more.
		c = make(http.Header, len(h)+1)
		maps.Copy(c, h)
	default:
		c = maps.Clone(h) // as it is in memory, not header by header
	}
	c[name] = value
	return c
}

// PerRPCCredentials puts a session's token on gRPC calls. It implements
// credentials.PerRPCCredentials of google.golang.org/grpc, which this package
// does not import:
//
//	grpc.NewClient(target, grpc.WithPerRPCCredentials(session.PerRPCCredentials()), …)
//
// A connection without TLS gRPC refuses, also to this machine: see
// [PerRPCCredentials.Loopback].
//
// It does not see the answers: make the call in [Session.Do], and return ErrRejected on
// codes.Unauthenticated. It is safe for concurrent use.
type PerRPCCredentials struct {
	s        *Session
	loopback bool // see Loopback
}

// PerRPCCredentials returns s's token as credentials for gRPC.
func (s *Session) PerRPCCredentials() *PerRPCCredentials { return &PerRPCCredentials{s: s} }

// Loopback returns credentials for connections within this machine, with or without TLS:
//
//	grpc.NewClient("localhost:50051", grpc.WithTransportCredentials(insecure.NewCredentials()),
//		grpc.WithPerRPCCredentials(session.PerRPCCredentials().Loopback()))
//
// Their token goes to localhost and other loopback addresses alone, and only to those that
// Config.Origins lists with http, like "http://localhost:50051"; the default port is 80, and
// gRPC calls a Unix socket "http://localhost". gRPC says what the call's authority is, which
// is the name that was dialed unless the program has set another one.
func (c *PerRPCCredentials) Loopback() *PerRPCCredentials { return &PerRPCCredentials{c.s, true} }

// GetRequestMetadata returns the header that carries the token, with its name in
// lower case. It is an error if uri is not of an allowed origin; other errors are
// those of [Session.Token], and ErrReplaced.
func (c *PerRPCCredentials) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if withoutToken(ctx) {
		return nil, nil
	}
	for _, raw := range uri {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("tokenclient: gRPC target is not a URL")
		}
		if c.loopback {
			u.Scheme = "http" // gRPC says https whatever the connection is
		}
		switch o := origin.Of(u); {
		case c.loopback && !o.IsLoopback():
			return nil, fmt.Errorf("tokenclient: no token is sent to %s: Loopback credentials are for this machine; use Session.PerRPCCredentials as it is", o)
		case !c.s.rules.Allows(u):
			return nil, fmt.Errorf("tokenclient: no token is sent to %s: it is not in Config.Origins, or plain http", o)
		}
	}
	if c.loopback && len(uri) == 0 {
		return nil, errors.New("tokenclient: no token is sent: Loopback credentials have to be told where to")
	}
	h, err := c.s.unrefused(ctx)
	if err != nil {
		return nil, c.s.whose(err)
	}
	req := &http.Request{Method: http.MethodPost, URL: new(url.URL), Header: make(http.Header)}
	if err := c.s.attacher.Attach(req.WithContext(ctx), h.record.Token); err != nil {
		return nil, err
	}
	if c.s.hooks.Attached != nil {
		c.s.hooks.Attached(ctx, h.generation)
	}
	metadata := make(map[string]string, len(req.Header))
	for name, values := range req.Header {
		metadata[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return metadata, nil
}

// RequireTransportSecurity reports whether gRPC must refuse connections without
// TLS: unless Config.InsecureHTTP is set, or these are those of [PerRPCCredentials.Loopback].
func (c *PerRPCCredentials) RequireTransportSecurity() bool {
	return !c.loopback && !c.s.rules.InsecureHTTP()
}
