// Command database is a back end of which several instances run, here two. The tokens of
// its users are in a database, sealed, and each instance has a tokenclient.Pool over it. An
// instance that refreshes a token does so for all.
//
//	go run ./examples/database
//
// It plays that over a PostgreSQL and over a Redis, which it starts from the Debian packages
// postgresql and redis-server, and which end with it. It takes some seconds. What you need in
// a program of yours is openPostgreSQL or openRedis, and newPool; the rest is the story.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// newPool returns the sessions of all users of the API. All instances have the same key,
// from a secret that is mounted or in the environment: store.KeyFile, store.KeyEnv.
func newPool(api string, kv store.KV, key store.KeyWrapper) (*tokenclient.Pool, error) {
	tokens, err := store.NewShared(kv, store.Seal(key), nil)
	if err != nil {
		return nil, err
	}
	everybody := tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      api + "/oauth/token",
			RevocationURL: api + "/oauth/revoke", // by which a logout reaches all instances
			ClientAuth:    tokenclient.PublicClient("back-end"),
		},
		Origins: []string{api},
	}
	return tokenclient.NewPool(tokenclient.PoolConfig{
		Store:  tokens,
		Config: func(context.Context, string) (tokenclient.Config, error) { return everybody, nil },
	})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(1)
	}
}
