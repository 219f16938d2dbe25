package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const origin = "https://api.example.com"

// issuer gives out tokens, and knows which is good.
type issuer struct {
	latency  atomic.Int64 // of a call, in nanoseconds
	lifetime atomic.Int64 // of the next token, in nanoseconds; may be negative
	calls    atomic.Int64
	valid    atomic.Pointer[string] // nil: none
	serial   atomic.Int64
}

func newIssuer() *issuer {
	i := new(issuer)
	i.lifetime.Store(int64(time.Hour))
	return i
}

// token is what a contender gets: as long as tokens usually are.
type token struct {
	access, refresh string
	expiry          time.Time
}

// mint makes a token, which becomes the one that is good.
func (i *issuer) mint() token {
	n := i.serial.Add(1)
	t := token{
		access:  fmt.Sprintf("access-%033d", n),
		refresh: fmt.Sprintf("refresh-%032d", n),
		expiry:  time.Now().Add(time.Duration(i.lifetime.Load())),
	}
	i.valid.Store(&t.access)
	return t
}

// call is a call of the token endpoint.
func (i *issuer) call(ctx context.Context) (token, error) {
	i.calls.Add(1)
	if err := wait(ctx, time.Duration(i.latency.Load())); err != nil {
		return token{}, err
	}
	return i.mint(), nil
}

// wait is time on the network.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// still is a base transport that costs nothing: it always gives the same answer.
type still struct{ resp *http.Response }

func newStill() *still {
	return &still{&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
}

func (s *still) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return s.resp, nil
}

// server is a base transport that looks at the token as a server does.
type server struct {
	issuer  *issuer
	latency time.Duration
	refused atomic.Int64 // requests
	seen    func(*http.Request)
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	if s.seen != nil {
		s.seen(req)
	}
	valid := s.issuer.valid.Load()
	good := valid != nil && presented(req) == *valid
	if err := wait(req.Context(), s.latency); err != nil {
		return nil, err
	}
	resp := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, Request: req,
	}
	if !good {
		s.refused.Add(1)
		resp.StatusCode = http.StatusUnauthorized
		resp.Header["Www-Authenticate"] = []string{`Bearer error="invalid_token"`}
	}
	return resp, nil
}

// presented is the token on a request, in whichever of the usual ways.
func presented(req *http.Request) string {
	if t := req.Header.Get("X-Auth-Token"); t != "" {
		return t
	}
	_, t, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return t
}
