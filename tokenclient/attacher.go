package tokenclient

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

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
	// fails the request; one that is ErrLoginRequired also has the session look whether
	// another process has logged in, for the requests that follow. Who signs the body asks req.GetBody for it, and leaves req.Body to
	// the server; see examples/signatures.
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

// headerOf is the header that a sets, canonical; "": none.
func headerOf(a Attacher) string { return http.CanonicalHeaderKey(a.HeaderName()) }

// newRules makes what c says about where the token may go.
func newRules(c *Config) (origin.Rules, error) {
	endpoints := endpointsOf(c.Refresher) // the first one is where a Pool's session waits
	for _, a := range c.Audiences {
		endpoints = append(endpoints, endpointsOf(a.Refresher)...)
	}
	rules, err := origin.New(origin.Settings{
		Origins: c.Origins, Hosts: c.Hosts, AnyOrigin: c.AnyOrigin, InsecureHTTP: c.InsecureHTTP,
		Endpoints: endpoints, ReplaceHeader: c.ReplaceHeader,
	})
	if err != nil {
		return origin.Rules{}, fmt.Errorf("tokenclient: %w", err)
	}
	return rules, nil
}

// judge says whether req gets the token, and whether its caller has set the header of it. isOurs
// reports whether what it was set to is a token of the session, and base returns what sends req.
func (s *settings) judge(req *http.Request, isOurs func(values []string) bool, base func() http.RoundTripper) (attach, own bool, err error) {
	attach, own, err = s.rules.Judge(req, s.header, isOurs)
	if attach && req.URL.Scheme != "https" { // else no proxy can read it
		err = s.rules.JudgeProxy(req, base())
	}
	return attach, own, err
}

// allows reports whether the token may go to u, and insecure whether by plain http.
func (s *settings) allows(u *url.URL) bool { return s.rules.Allows(u) }

func (s *settings) insecure() bool { return s.rules.InsecureHTTP() }

// endpoint is where refreshes go, zero if that is not known, and by what.
func (s *settings) endpoint() (origin.Origin, Refresher) { return s.rules.Endpoint(), s.refresher }

// tokenHeader is the header that carries the token; "": none.
func (s *settings) tokenHeader() string { return s.header }

// attach has the Attacher put t on req.
func (s *settings) attach(req *http.Request, t *Token) error { return s.attacher.Attach(req, t) }

// answerer is the Attacher if that is told of the answers; nil: it is not.
func (s *settings) answerer() answerer {
	a, _ := s.attacher.(answerer)
	return a
}

// headerValue is the value of the header that carries t, if all requests get the same; else "".
func (s *settings) headerValue(t *Token) string {
	a := asValueAttacher(s.attacher)
	if a == nil {
		return ""
	}
	value, err := a.headerValue(t)
	if err != nil {
		return ""
	}
	return value
}
