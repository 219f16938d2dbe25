package main

import (
	"context"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

var azure = contender{
	name:   "azcore",
	module: "github.com/Azure/azure-sdk-for-go/sdk/azcore",
	about:  "BearerTokenPolicy in the usual pipeline, whose other policies count too; retries and telemetry off.",
	open: func(p place) (*session, error) {
		bearer := runtime.NewBearerTokenPolicy(azureCredential{p.issuer}, []string{"scope"},
			&policy.BearerTokenOptions{InsecureAllowCredentialWithHTTP: true})
		newPipeline := func(t policy.Transporter) runtime.Pipeline {
			return runtime.NewPipeline("bench", "v0.0.0", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}},
				&policy.ClientOptions{
					Transport: t,
					Retry:     policy.RetryOptions{MaxRetries: -1},
					Telemetry: policy.TelemetryOptions{Disabled: true},
				})
		}
		pipeline := newPipeline(&http.Client{Transport: p.base})
		return prime(&session{
			hot: func(req *http.Request) func() (*http.Response, error) {
				hot := newPipeline(azureTransport{p.base})
				body := req.Body
				return func() (*http.Response, error) {
					req.Body = body // NewRequestFromRequest wraps it
					r, err := runtime.NewRequestFromRequest(req)
					if err != nil {
						return nil, err
					}
					return hot.Do(r)
				}
			},
			get: func(ctx context.Context, url string) (int, error) {
				r, err := runtime.NewRequest(ctx, http.MethodGet, url)
				if err != nil {
					return 0, err
				}
				resp, err := pipeline.Do(r)
				if err != nil {
					return 0, err
				}
				return drain(resp)
			},
			close: func() error { return nil },
		}, p)
	},
}

// azureTransport has the pipeline end in a RoundTripper, without an http.Client.
type azureTransport struct{ base http.RoundTripper }

func (t azureTransport) Do(req *http.Request) (*http.Response, error) { return t.base.RoundTrip(req) }

type azureCredential struct{ issuer *issuer }

func (c azureCredential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := c.issuer.call(ctx)
	return azcore.AccessToken{Token: t.access, ExpiresOn: t.expiry}, err
}
