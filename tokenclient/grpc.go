package tokenclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// PerRPCCredentials puts a session's token on gRPC calls. It implements
// credentials.PerRPCCredentials of google.golang.org/grpc, which this package
// does not import:
//
//	grpc.NewClient(target, grpc.WithPerRPCCredentials(session.PerRPCCredentials()), …)
//
// It does not see the answers: on codes.Unauthenticated, call
// [Session.RefreshRejected] and try once more. It is safe for concurrent use.
type PerRPCCredentials struct{ s *Session }

// PerRPCCredentials returns s's token as credentials for gRPC.
func (s *Session) PerRPCCredentials() *PerRPCCredentials { return &PerRPCCredentials{s} }

// GetRequestMetadata returns the header that carries the token, with its name in
// lower case. It is an error if uri is not of an allowed origin; other errors are
// those of [Session.Token].
func (c *PerRPCCredentials) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if withoutToken(ctx) {
		return nil, nil
	}
	for _, raw := range uri {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("tokenclient: gRPC target is not a URL")
		}
		if !c.s.rules.Allows(u) {
			return nil, fmt.Errorf("tokenclient: no token is sent to %s: it is not in Config.Origins, or plain http", origin.Of(u))
		}
	}
	h, err := c.s.current(ctx)
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: http.MethodPost, URL: new(url.URL), Header: make(http.Header)}
	if err := c.s.attacher.Attach(req.WithContext(ctx), h.record.Token); err != nil {
		return nil, err
	}
	if c.s.hooks.Attached != nil {
		c.s.hooks.Attached(ctx, h.generation)
	}
	metadata := make(map[string]string, len(req.Header))
	for name, values := range req.Header {
		metadata[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return metadata, nil
}

// RequireTransportSecurity reports whether gRPC must refuse connections without
// TLS: unless Config.InsecureHTTP is set.
func (c *PerRPCCredentials) RequireTransportSecurity() bool { return !c.s.rules.InsecureHTTP() }
