package main

import (
	"context"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
)

var gcloud = contender{
	name:   "gcloud auth",
	module: "cloud.google.com/go/auth",
	about:  "httptransport.NewClient, telemetry off.",
	open: func(p place) (*session, error) {
		client, err := httptransport.NewClient(&httptransport.Options{
			Credentials:      auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: gcloudProvider{p.issuer}}),
			BaseRoundTripper: p.base,
			DisableTelemetry: true,
		})
		if err != nil {
			return nil, err
		}
		return prime(roundTripper(client.Transport), p)
	},
}

type gcloudProvider struct{ issuer *issuer }

func (g gcloudProvider) Token(ctx context.Context) (*auth.Token, error) {
	t, err := g.issuer.call(ctx)
	if err != nil {
		return nil, err
	}
	return &auth.Token{Value: t.access, Type: "Bearer", Expiry: t.expiry}, nil
}
