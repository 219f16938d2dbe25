package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
)

var github = contender{
	name:   "ghinstallation",
	module: "github.com/bradleyfalzon/ghinstallation/v2",
	about:  "Its Transport, with a signer that costs nothing.",
	open: func(p place) (*session, error) {
		apps, err := ghinstallation.NewAppsTransportWithOptions(githubBase{p}, 1, ghinstallation.WithSigner(githubSigner{}))
		if err != nil {
			return nil, err
		}
		t := ghinstallation.NewFromAppsTransport(apps, 1)
		t.BaseURL = p.origin
		return prime(roundTripper(t), p)
	},
}

// githubBase keeps the token endpoint, which ghinstallation reaches through its
// base transport, out of the server that is measured.
type githubBase struct{ place place }

func (b githubBase) RoundTrip(req *http.Request) (*http.Response, error) {
	if isTokenRequest(req) {
		return answerToken(req, b.place.issuer)
	}
	return b.place.base.RoundTrip(req)
}

type githubSigner struct{}

func (githubSigner) Sign(jwt.Claims) (string, error) { return "signed", nil }

func isTokenRequest(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/access_tokens") }

func answerToken(req *http.Request, i *issuer) (*http.Response, error) {
	t, err := i.call(req.Context())
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{"token": t.access, "expires_at": t.expiry})
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusCreated, Header: make(http.Header), Request: req,
		Body: io.NopCloser(strings.NewReader(string(text))),
	}, nil
}
