package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

var openstack = contender{
	name:   "gophercloud",
	module: "github.com/gophercloud/gophercloud/v2",
	about:  "ProviderClient.Request with a ReauthFunc and the token lock; it is no RoundTripper, and making the request and http.Client count too.",
	open: func(p place) (*session, error) {
		client := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: p.base}}
		client.UseTokenLock()
		client.SetToken(p.issuer.mint().access)
		client.ReauthFunc = func(ctx context.Context) error {
			t, err := p.issuer.call(ctx)
			if err == nil {
				client.SetToken(t.access)
			}
			return err
		}
		okCodes := []int{http.StatusOK}
		return &session{
			hot: func(req *http.Request) func() (*http.Response, error) {
				opts := &gophercloud.RequestOpts{OkCodes: okCodes, KeepResponseBody: true, MoreHeaders: make(map[string]string)}
				for k := range req.Header {
					opts.MoreHeaders[k] = req.Header.Get(k)
				}
				if body, ok := req.Body.(io.ReadSeeker); ok {
					opts.RawBody = body
				}
				ctx, method, url := req.Context(), req.Method, req.URL.String()
				return func() (*http.Response, error) { return client.Request(ctx, method, url, opts) }
			},
			get: func(ctx context.Context, url string) (int, error) {
				resp, err := client.Request(ctx, http.MethodGet, url, &gophercloud.RequestOpts{OkCodes: okCodes, KeepResponseBody: true})
				var status gophercloud.ErrUnexpectedResponseCode
				if errors.As(err, &status) {
					return status.Actual, nil
				}
				if err != nil {
					return 0, err
				}
				return drain(resp)
			},
			close: func() error { return nil },
		}, nil
	},
}
