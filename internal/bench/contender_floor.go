package main

import (
	"maps"
	"net/http"
	"sync/atomic"
)

var floor = contender{
	name:  "floor",
	about: "By hand, the least that a legal RoundTripper can do: it copies the request and a header map that is made large enough, and reads the token from an atomic pointer.",
	open: func(p place) (*session, error) {
		t := &floorTransport{base: p.base}
		t.value.Store(&[]string{"Bearer " + p.issuer.mint().access})
		s := roundTripper(t)
		s.never = "has no refresh"
		return s, nil
	},
}

type floorTransport struct {
	base  http.RoundTripper
	value atomic.Pointer[[]string]
}

func (t *floorTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.WithContext(req.Context())
	r.Header = make(http.Header, len(req.Header)+1)
	maps.Copy(r.Header, req.Header)
	r.Header["Authorization"] = *t.value.Load()
	return t.base.RoundTrip(r)
}
