package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// A contender is one way of sending requests with a token.
type contender struct {
	name   string
	module string // "": it is in this repository
	about  string
	open   func(p place) (*session, error)
}

// place is where a contender works.
type place struct {
	base   http.RoundTripper // sends its requests
	issuer *issuer           // gives it tokens
	origin string            // where its requests go
}

// A session is a contender that holds a token.
type session struct {
	// hot returns a call that sends req, which is prepared beforehand, once
	// each time: at RoundTrip, if the contender is a RoundTripper.
	hot func(req *http.Request) func() (*http.Response, error)

	// get is a GET as an application makes it. It returns the status.
	get func(ctx context.Context, url string) (int, error)

	// never says why the contender cannot replace a token. "": it can.
	never string

	close func() error
}

var contenders = []contender{floor, ours, xoauth2, gcloud, azure, github, openstack}

// roundTripper makes a session of a contender that is a RoundTripper.
func roundTripper(rt http.RoundTripper) *session {
	client := &http.Client{Transport: rt}
	return &session{
		hot: func(req *http.Request) func() (*http.Response, error) {
			return func() (*http.Response, error) { return rt.RoundTrip(req) }
		},
		get:   clientGet(client),
		close: func() error { return nil },
	}
}

func clientGet(client *http.Client) func(context.Context, string) (int, error) {
	return func(ctx context.Context, url string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		return drain(resp)
	}
}

// drain reads an answer to its end and returns its status.
func drain(resp *http.Response) (int, error) {
	defer resp.Body.Close()
	_, err := io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// prime has a contender that begins without a token fetch its first.
func prime(s *session, p place) (*session, error) {
	status, err := s.get(context.Background(), p.origin+"/prime")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("first request answered %d", status)
	}
	return s, err
}
