// Command sdk uses a package that an SDK's author wrote over this library, package depot
// beside it, as the users of an SDK do: they see no token.
//
//	go run ./examples/sdk
//
// It brings its own server. What you need for an SDK of yours is package depot, and its tests,
// which play months in no time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/examples/sdk/depot"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sdk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) (err error) {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		return err
	}
	defer server.Close()
	server.AddUser("alice", "secret")

	client, err := depot.New(server.URL, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	put := func() error {
		receipt, err := client.Put(ctx, "report.txt", strings.NewReader("all is well"))
		if err == nil {
			fmt.Fprintf(stdout, "The service has %d bytes of %s's.\n", receipt.Size, receipt.Owner)
		}
		return err
	}
	if err := put(); !errors.Is(err, depot.ErrLoginRequired) {
		return fmt.Errorf("not as told: want an error that is ErrLoginRequired, got %w", err)
	}
	fmt.Fprintln(stdout, "Nobody has logged in: the SDK says so, and sends nothing.")
	if err := client.Login(ctx, "alice", "secret"); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Logged in.")
	if err := put(); err != nil {
		return err
	}
	server.RevokeAccess("alice")
	fmt.Fprintln(stdout, "The service revoked the access token. The SDK's user calls, and sees nothing of it:")
	if err := put(); err != nil {
		return err
	}
	if err := client.Logout(ctx); err != nil {
		return err
	}
	c := server.Counters()
	if c.Refreshes != 1 || c.Unauthorized != 1 || c.Revocations != 1 {
		return fmt.Errorf("not as told: the server counted %+v", c)
	}
	fmt.Fprintf(stdout, "Logged out. The service counted: refreshes %d, 401s %d, revocations %d.\n", c.Refreshes, c.Unauthorized, c.Revocations)
	return nil
}
