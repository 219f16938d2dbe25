package clients_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

var _ credentials.PerRPCCredentials = (*tokenclient.PerRPCCredentials)(nil)

// call makes a call that needs a token, and once more if the server refuses that: gRPC shows
// its credentials no answer.
func call(ctx context.Context, session *tokenclient.Session, client grpc_health_v1.HealthClient) error {
	return session.Do(ctx, func(ctx context.Context, _ *tokenclient.Token) error { // the credentials have the token
		_, err := client.Check(ctx, new(grpc_health_v1.HealthCheckRequest))
		if status.Code(err) == codes.Unauthenticated {
			return fmt.Errorf("%w: %w", tokenclient.ErrRejected, err)
		}
		return err
	})
}

// listenForGRPC serves health checks without TLS to those whose token is good.
func listenForGRPC(t *testing.T, network, addr string) (l net.Listener, use func(*tokentest.Server)) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return l, func(srv *tokentest.Server) {
		s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			if v := md.Get("authorization"); len(v) != 1 || !good(ctx, srv, strings.TrimPrefix(v[0], "Bearer ")) {
				return nil, status.Error(codes.Unauthenticated, "token refused")
			}
			return handler(ctx, req)
		}))
		grpc_health_v1.RegisterHealthServer(s, health.NewServer())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Serve(l) // ends with Stop
		}()
		t.Cleanup(func() {
			s.Stop()
			<-done
		})
	}
}

// TestGRPCLoopback: calls over a plain connection within this machine, with a token that is
// refused in between, and no switch for anything beyond it.
func TestGRPCLoopback(t *testing.T) {
	for name, c := range map[string]struct{ network, addr, target, origin string }{
		"TCP":  {network: "tcp", addr: "127.0.0.1:0"},
		"Unix": {network: "unix", addr: t.TempDir() + "/rpc.sock", target: "unix:", origin: "http://localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			l, use := listenForGRPC(t, c.network, c.addr)
			target, origin := c.target+l.Addr().String(), c.origin
			if origin == "" {
				origin = "http://" + target
			}
			session, srv := newSession(t, nil, origin)
			use(srv)
			conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithPerRPCCredentials(session.PerRPCCredentials().Loopback()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := grpc_health_v1.NewHealthClient(conn)
			for refreshes := range 3 {
				if err := call(t.Context(), session, client); err != nil {
					t.Fatal(err)
				}
				if n := srv.Counters().Refreshes; n != refreshes {
					t.Errorf("%d refreshes, want %d", n, refreshes)
				}
				srv.RevokeAccess("alice")
			}
		})
	}
}

// TestGRPCPlain: without Loopback gRPC makes no plain connection, and with it no token goes to
// where Origins does not say.
func TestGRPCPlain(t *testing.T) {
	session, srv := newSession(t, nil)
	if _, err := grpc.NewClient("localhost:1", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(session.PerRPCCredentials())); err == nil {
		t.Error("a plain connection with credentials that require TLS")
	}
	l, use := listenForGRPC(t, "tcp", "127.0.0.1:0")
	use(srv)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(session.PerRPCCredentials().Loopback()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = call(t.Context(), session, grpc_health_v1.NewHealthClient(conn))
	if err == nil || !strings.Contains(err.Error(), "not in Config.Origins") {
		t.Errorf("error %v", err)
	}
}
