package grpcauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// creds are the credentials of one attempt. An interceptor does not know the connection, which is
// chosen below it, and may be another one if gRPC tries again; credentials are asked once it is
// known, with its URI, and only if it has TLS where they require that.
type creds struct {
	session  *tokenclient.PerRPCCredentials
	caller   credentials.PerRPCCredentials // of the call's own options; nil: none
	loopback bool

	mu   sync.Mutex // guards what follows
	sent bool       // the token was handed out
	err  error      // why it was not
}

func (a *Auth) credentials(s *tokenclient.Session, opts []grpc.CallOption) *creds {
	c := &creds{session: s.PerRPCCredentials(), loopback: a.loopback}
	if a.loopback {
		c.session = c.session.Loopback()
	}
	for _, o := range opts {
		if o, ok := o.(grpc.PerRPCCredsCallOption); ok { // gRPC takes the last
			c.caller = o.Creds
		}
	}
	return c
}

// RequireTransportSecurity reports whether the session or the caller requires it.
func (c *creds) RequireTransportSecurity() bool {
	return c.session.RequireTransportSecurity() || c.caller != nil && c.caller.RequireTransportSecurity()
}

// GetRequestMetadata returns what the caller has, and the token, unless the caller has set the
// token's header.
func (c *creds) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	md := make(map[string]string)
	if c.caller != nil {
		own, err := c.caller.GetRequestMetadata(ctx, uri...)
		if err != nil {
			return nil, err
		}
		for name, value := range own {
			md[strings.ToLower(name)] = value
		}
	}
	token, err := c.token(ctx, uri)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; err != nil {
		return nil, err
	}
	outgoing, _ := metadata.FromOutgoingContext(ctx)
	for name := range token {
		if _, set := md[name]; set || len(outgoing.Get(name)) > 0 {
			return md, nil
		}
	}
	c.sent = len(token) > 0
	maps.Copy(md, token)
	return md, nil
}

// token returns the headers of the token for the server at uri.
func (c *creds) token(ctx context.Context, uri []string) (map[string]string, error) {
	if c.loopback {
		if err := checkLocal(ctx); err != nil {
			return nil, err
		}
	}
	return c.session.GetRequestMetadata(ctx, uri...)
}

// checkLocal reports if the connection of a call leaves this machine, or may do so. The URI alone
// does not tell: it has the authority, which a program may set to another than it dials.
func checkLocal(ctx context.Context) error {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return errors.New("grpcauth: no token is sent: gRPC does not say where the connection leads")
	}
	if a, ok := p.Addr.(*net.TCPAddr); ok && a.IP.IsLoopback() {
		return nil
	}
	switch p.Addr.Network() {
	case "unix", "pipe", "bufconn": // the last two are net.Pipe and gRPC's own, in memory
		return nil
	}
	return fmt.Errorf("grpcauth: no token is sent to %s: Auth.Loopback is for this machine", p.Addr)
}

// judge returns what came of a call with c as an outcome.
func (c *creds) judge(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil { // gRPC leaves no more than its text
		return &outcome{error: failed(c.err)}
	}
	// gRPC itself says Unauthenticated of a connection without TLS, and of other credentials.
	return &outcome{error: err, refused: c.sent && status.Code(err) == codes.Unauthenticated}
}
