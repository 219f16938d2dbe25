package grpcauth_test

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

// A connection whose calls carry the token of one session.
func ExampleSession() {
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://auth.example.com/token",
			ClientAuth: tokenclient.PublicClient("my-app"),
		},
		Origins: []string{"https://api.example.com"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close(context.Background())
	conn, err := grpc.NewClient("dns:///api.example.com:443", append(grpcauth.Session(session).DialOptions(),
		grpc.WithTransportCredentials(credentials.NewTLS(nil)))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output:
	// dns:///api.example.com:443
}

// A gateway: each call carries the token of the user whose key its context has.
func ExamplePool() {
	var pool *tokenclient.Pool // of tokenclient.NewPool
	dial := func(target string) (*grpc.ClientConn, error) {
		return grpc.NewClient(target, append(grpcauth.Pool(pool).DialOptions(),
			grpc.WithTransportCredentials(credentials.NewTLS(nil)))...)
	}
	call := func(ctx context.Context, conn *grpc.ClientConn, user string, in, out any) error {
		return conn.Invoke(tokenclient.WithKey(ctx, user), "/things.Things/Get", in, out)
	}
	_, _ = dial, call
}
