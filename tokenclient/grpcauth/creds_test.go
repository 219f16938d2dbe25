package grpcauth_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

// fixed are credentials of a caller.
type fixed map[string]string

func (f fixed) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if f["fails"] != "" {
		return nil, status.Error(codes.Unauthenticated, f["fails"])
	}
	return f, nil
}

func (fixed) RequireTransportSecurity() bool { return false }

// TestCallersOwn: the header of the token that the caller has set stays, whatever comes of it, and
// what else he has is sent beside the token. No refusal of it refreshes the token.
func TestCallersOwn(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	conn := dial(grpcauth.Session(newSession(t, a, origin)).Loopback())
	bob := "Bearer " + a.issue("bob").AccessToken
	for name, c := range map[string]struct {
		metadata []string
		creds    fixed
		want     string // "": refused
	}{
		"metadata":                    {metadata: []string{"authorization", bob}, want: "bob x"},
		"metadata in capitals":        {metadata: []string{"Authorization", bob}, want: "bob x"},
		"metadata that is refused":    {metadata: []string{"authorization", "Bearer bad"}},
		"empty metadata":              {metadata: []string{"authorization", ""}},
		"other metadata":              {metadata: []string{"x-other", "1", "x-bin", "\x00\xff"}, want: "alice x"},
		"credentials":                 {creds: fixed{"Authorization": bob}, want: "bob x"},
		"credentials that are bad":    {creds: fixed{"authorization": "Bearer bad"}},
		"credentials that fail":       {creds: fixed{"fails": "no key"}},
		"credentials of another kind": {creds: fixed{"x-quota": "project"}, want: "alice x"},
	} {
		var opts []grpc.CallOption
		if c.creds != nil {
			opts = append(opts, grpc.PerRPCCredentials(c.creds))
		}
		got, err := unary(metadata.AppendToOutgoingContext(t.Context(), c.metadata...), conn, "x", opts...)
		if got != c.want || c.want == "" && status.Code(err) != codes.Unauthenticated || c.want != "" && err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if a.count() != 0 {
			t.Fatalf("%s: %d refreshes", name, a.count())
		}
	}
}

// TestPlainConnection: gRPC says Unauthenticated of a connection without TLS, and nothing is
// refreshed for that.
func TestPlainConnection(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	conn := dial(grpcauth.Session(newSession(t, a, origin)))
	for kind, call := range kinds {
		if _, err := call(t.Context(), conn); status.Code(err) != codes.Unauthenticated || a.count() != 0 {
			t.Errorf("%s: %v, %d refreshes", kind, err, a.count())
		}
	}
}

// awayConn looks as if it led to another machine.
type awayConn struct{ net.Conn }

func (awayConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50051} }

// TestAuthorityOfThisMachine: an authority that names this machine sends no token to another one.
func TestAuthorityOfThisMachine(t *testing.T) {
	for _, away := range []bool{false, true} {
		a := new(authority)
		_, dial := serve(t, a, false)
		conn := dial(grpcauth.Session(newSession(t, a, "http://localhost:50051")).Loopback(), grpc.WithAuthority("localhost:50051"),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				if away && err == nil {
					conn = awayConn{conn}
				}
				return conn, err
			}))
		got, err := unary(t.Context(), conn, "x")
		if away && (err == nil || !strings.Contains(err.Error(), "for this machine")) || !away && (err != nil || got != "alice x") {
			t.Errorf("away %v: %q, %v", away, got, err)
		}
	}
}

// TestErrorsBelow: errors of interceptors below come as they are, and are none of the session's.
func TestErrorsBelow(t *testing.T) {
	a := new(authority)
	auth := grpcauth.Session(newSession(t, a, "https://api.example.com"))
	for _, below := range []error{errors.New("circuit open"), tokenclient.ErrRejected, status.Error(codes.Unauthenticated, "not sent"), context.Canceled} {
		err := auth.Unary(t.Context(), "/x/y", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return below })
		if err != below { // it must be the same
			t.Errorf("unary: %v", err)
		}
		_, err = auth.Stream(t.Context(), both, nil, "/x/y", func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
			return nil, below
		})
		if err != below { // it must be the same
			t.Errorf("stream: %v", err)
		}
	}
	if a.count() != 0 {
		t.Errorf("%d refreshes", a.count())
	}
}
