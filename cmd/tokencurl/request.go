package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A request is a call of the root command.
type request struct {
	*tool
	method, upload, output, agent string
	headers, form                 []string
	data, json                    []datum
	get, head, include, verbose   bool
	fail, failWithBody, follow    bool
	silent, showError, compressed bool
	maxTime                       float64
	meter                         meter
}

// run makes the request that args asks for.
func (r *request) run(ctx context.Context, args []string) (err error) {
	r.quiet = r.silent && !r.showError
	if len(args) != 1 {
		return usage(fmt.Errorf("one URL is asked for at a time, not %d: try tokencurl --help", len(args)))
	}
	if !(r.maxTime >= 0) { // nor NaN
		return usage(fmt.Errorf("-m takes seconds, not %v", r.maxTime))
	}
	if limit := r.maxTime * float64(time.Second); limit > 0 && limit < math.MaxInt64 { // 292 years are no limit
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(limit))
		defer cancel()
	}
	var s *story
	if r.verbose {
		s = newStory(r.err)
	}
	c, err := r.open(s)
	if err != nil {
		return err
	}
	defer c.close(ctx, &err)
	req, err := r.build(ctx, c, args[0])
	if err != nil {
		return err
	}
	s.about(c.profile)
	if !r.silent && !r.verbose && isTerminal(r.err) && (r.output != "" && r.output != "-" || !isTerminal(r.out)) {
		r.meter.to = r.err
	}
	resp, err := r.client(c, s).Do(req)
	r.meter.end()
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	return r.write(resp)
}

// withoutURL leaves out what the person has just typed, and what net/http says around it.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) && !errors.Is(err, errRedirects) {
		return e.Err
	}
	return err
}

// target is the URL to ask, which the session must be for.
func (r *request) target(c *connection, arg string) (*url.URL, error) {
	if strings.HasPrefix(arg, "/") {
		if len(c.Origins) != 1 {
			return nil, &exitError{exitURL, fmt.Errorf("%q is only a path, and the session has %d origins: write the whole URL", arg, len(c.Origins))}
		}
		arg = c.Origins[0] + arg
	}
	u, err := url.Parse(arg)
	switch {
	case err != nil:
		return nil, &exitError{exitURL, err}
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, &exitError{exitURL, fmt.Errorf("%q is no URL that begins with https:// or http://, nor a command", arg)}
	case u.User != nil:
		return nil, &exitError{exitURL, errors.New("a URL with a user in it has credentials of its own: use curl")}
	case !c.allows(u):
		return nil, &exitError{exitOrigin, fmt.Errorf("session %q is for %s, not for %s: nothing was sent. Log in with --origin for it, or use another --session",
			c.name, strings.Join(c.Origins, ", "), originOf(u))}
	}
	u.RawQuery = encodeQuery(u.RawQuery)
	if r.upload != "" && r.upload != "-" && strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath(path.Base(r.upload))
	}
	return u, nil
}

// encodeQuery encodes what a query may not have (RFC 3986, section 3.4), and leaves what is
// encoded: a space would end the request line early, and a # the URL.
func encodeQuery(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"#<>`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// build makes the request.
func (r *request) build(ctx context.Context, c *connection, arg string) (*http.Request, error) {
	u, err := r.target(c, arg)
	if err != nil {
		return nil, err
	}
	method, b, err := r.payload(u)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, method), u.String(), nil)
	if err != nil {
		return nil, &exitError{exitURL, err}
	}
	req.Header.Set("Accept", "*/*")
	req.Header.Set("User-Agent", r.agent)
	if b != nil {
		if err := r.send(req, b); err != nil {
			return nil, err
		}
	}
	if len(r.json) > 0 {
		req.Header.Set("Accept", "application/json")
	}
	return req, r.setHeaders(req, cmp.Or(c.Header, "Authorization"))
}

// send makes b the body of req.
func (r *request) send(req *http.Request, b *body) error {
	open := func() (io.ReadCloser, error) {
		rc, err := b.open()
		if err != nil {
			return nil, err
		}
		r.meter.begin(b.size)
		return &metered{rc, &r.meter}, nil
	}
	rc, err := open()
	if err != nil {
		return &exitError{exitRead, err}
	}
	req.Body, req.ContentLength = rc, b.size
	if b.size == 0 {
		req.Body = http.NoBody
		_ = rc.Close()
	}
	req.GetBody = noRewind
	if b.again {
		req.GetBody = open
	}
	if b.contentType != "" {
		req.Header.Set("Content-Type", b.contentType)
	}
	return nil
}

// payload is what is sent, nil for nothing, and by which method if the person named none.
func (r *request) payload(u *url.URL) (string, *body, error) {
	kinds := 0
	for _, given := range []bool{len(r.data) > 0, len(r.json) > 0, len(r.form) > 0, r.upload != ""} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return "", nil, usage(errors.New("one of -d, --json, -F and -T at a time"))
	case r.get:
		if kinds > 0 && len(r.data) == 0 {
			return "", nil, usage(errors.New("-G is for -d alone"))
		}
		query, err := r.joined(r.data, "&")
		if err != nil {
			return "", nil, err
		}
		u.RawQuery = encodeQuery(strings.Trim(u.RawQuery+"&"+string(query), "&"))
		return map[bool]string{false: http.MethodGet, true: http.MethodHead}[r.head], nil, nil
	case r.head && kinds > 0:
		return "", nil, usage(errors.New("-I sends no body"))
	case r.head:
		return http.MethodHead, nil, nil
	case len(r.data) > 0:
		b, err := r.joined(r.data, "&")
		return http.MethodPost, bytesBody(b, "application/x-www-form-urlencoded"), err
	case len(r.json) > 0:
		b, err := r.joined(r.json, "")
		return http.MethodPost, bytesBody(b, "application/json"), err
	case len(r.form) > 0:
		b, err := r.formBody()
		return http.MethodPost, b, err
	case r.upload != "":
		b, err := r.uploadBody()
		return http.MethodPut, b, err
	}
	return http.MethodGet, nil, nil
}

// headerName is a name of a header (RFC 9110, section 5.6.2).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// framing are the headers that net/http makes of the body. It would ignore those of -H.
var framing = []string{"Content-Length", "Transfer-Encoding", "Trailer"}

// setHeaders sets those of -H. The one that carries the token is not the person's to set:
// a token that expires is what this program is against.
func (r *request) setHeaders(req *http.Request, carries string) error {
	seen := map[string]bool{}
	for _, h := range r.headers {
		name, value, ok := strings.Cut(h, ":")
		empty := false
		if !ok {
			name, empty = strings.CutSuffix(h, ";")
			ok = empty
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || !headerName.MatchString(name) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			return usage(errors.New("-H takes 'Name: value'"))
		case strings.EqualFold(name, carries):
			return usage(fmt.Errorf("-H %s: the session sets this header", name))
		case slices.ContainsFunc(framing, func(f string) bool { return strings.EqualFold(name, f) }):
			return usage(fmt.Errorf("-H %s: what is sent decides about this header", name))
		case strings.EqualFold(name, "Host"):
			req.Host = value
		case value == "" && !empty:
			req.Header.Del(name)
			if strings.EqualFold(name, "User-Agent") {
				req.Header.Set(name, "") // net/http sends one of its own otherwise
			}
		case seen[textproto.CanonicalMIMEHeaderKey(name)]:
			req.Header.Add(name, value)
		default:
			req.Header.Set(name, value)
		}
		seen[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
	return nil
}
