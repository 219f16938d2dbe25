package main

import (
	"context"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var ours = contender{
	name:  "silentrefresh",
	about: "A Session without a Store, and its Transport.",
	open: func(p place) (*session, error) {
		s, err := tokenclient.New(tokenclient.Config{Refresher: ourRefresher{p.issuer}, Origins: []string{p.origin}})
		if err != nil {
			return nil, err
		}
		if err := s.SetToken(context.Background(), ourToken(p.issuer.mint())); err != nil {
			return nil, err
		}
		opened := roundTripper(s.Transport(p.base))
		opened.close = func() error { return s.Close(context.Background()) }
		return opened, nil
	},
}

type ourRefresher struct{ issuer *issuer }

func (r ourRefresher) Refresh(ctx context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
	t, err := r.issuer.call(ctx)
	return ourToken(t), err
}

func ourToken(t token) *tokenclient.Token {
	return &tokenclient.Token{AccessToken: t.access, RefreshToken: t.refresh, Expiry: t.expiry}
}
