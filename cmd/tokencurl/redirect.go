package main

import (
	"errors"
	"fmt"
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
	case first.GetBody == nil:
		return errRewind
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

// followed returns an error if resp is a redirect that net/http gave back for want of a body.
func (r *request) followed(resp *http.Response) error {
	keeps := resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect
	if r.follow && keeps && resp.Header.Get("Location") != "" {
		return errRewind
	}
	return nil
}
