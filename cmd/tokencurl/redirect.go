package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// mostRedirects is curl's bound for -L.
const mostRedirects = 50

var (
	errRedirects = &exitError{exitRedirects, fmt.Errorf("more than %d redirects", mostRedirects)}
	errRewind    = &exitError{exitRewind, errors.New("the server redirects, and what came from standard input cannot be sent a second time")}
)

func (r *request) client(c *connection, s *story) *http.Client {
	client := c.Wrap(&http.Client{Transport: s.transport(newTransport(r.compressed))})
	client.Transport = onceOnly{client.Transport, r.upload == "-"}
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		switch {
		case !r.follow:
			return http.ErrUseLastResponse
		case len(via) > mostRedirects:
			return errRedirects
		case via[0].Header.Get("Referer") == "": // net/http sets it; curl does not, and a query may be a secret
			next.Header.Del("Referer")
		}
		return r.redirect(next, via)
	}
	return client
}

// redirect makes next what curl makes of it. For net/http all methods but GET and HEAD become GET
// after 301, 302 and 303, and lose their bodies. For curl the method of -X stays, whatever the
// status, and the file of -T is lost by 303 alone.
func (r *request) redirect(next *http.Request, via []*http.Request) error {
	if r.method != "" {
		next.Method = r.method
	}
	first, before := via[0], via[len(via)-1]
	lost := before.Method != first.Method || before.ContentLength != first.ContentLength // by a 303 on the way
	if r.upload == "" || lost || next.Response.StatusCode == http.StatusSeeOther {
		return nil
	}
	next.Method = first.Method
	switch {
	case next.Body != nil, first.ContentLength == 0:
		return nil
	}
	body, err := first.GetBody()
	if err != nil {
		return err
	}
	next.Body, next.GetBody, next.ContentLength = body, first.GetBody, first.ContentLength
	for name, values := range first.Header { // net/http took them away with the body
		if strings.HasPrefix(name, "Content-") {
			next.Header[name] = values
		}
	}
	return nil
}

// noRewind is the GetBody of what came from standard input. With none net/http would give back each
// 307 and 308, even after a 303, from which on there is no body any more that could be asked for.
func noRewind() (io.ReadCloser, error) { return nil, errRewind }

// onceOnly is above the session's Transport, which keeps what it can of a body that has no GetBody.
type onceOnly struct {
	http.RoundTripper
	once bool
}

func (o onceOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil || !o.once {
		return o.RoundTripper.RoundTrip(req)
	}
	bare := req.WithContext(req.Context())
	bare.GetBody = nil
	resp, err := o.RoundTripper.RoundTrip(bare)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}
