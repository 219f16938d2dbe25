package main

import (
	"context"

	"golang.org/x/oauth2"
)

var xoauth2 = contender{
	name:   "x/oauth2",
	module: "golang.org/x/oauth2",
	about:  "Transport over ReuseTokenSource.",
	open: func(p place) (*session, error) {
		source := oauth2.ReuseTokenSource(xoauth2Token(p.issuer.mint()), xoauth2Source{p.issuer})
		return roundTripper(&oauth2.Transport{Source: source, Base: p.base}), nil
	},
}

type xoauth2Source struct{ issuer *issuer }

// Token has no context to pass on.
func (s xoauth2Source) Token() (*oauth2.Token, error) {
	t, err := s.issuer.call(context.Background())
	return xoauth2Token(t), err
}

func xoauth2Token(t token) *oauth2.Token {
	return &oauth2.Token{AccessToken: t.access, RefreshToken: t.refresh, Expiry: t.expiry}
}
