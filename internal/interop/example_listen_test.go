package interop_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// listenOn listens to a PostgreSQL with a connection of pool, until the program ends.
func listenOn(program context.Context, pool *pgxpool.Pool) sqlstore.ListenFunc {
	return func(ctx context.Context, channel string, heard func(payload string)) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(program, cancel)() // the pool does not close a connection that it gave away
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		own := conn.Hijack() // nobody else can use one that listens
		defer own.Close(context.WithoutCancel(ctx))
		if _, err := own.Exec(ctx, "LISTEN "+channel); err != nil {
			return err
		}
		for heard(""); ; {
			n, err := own.WaitForNotification(ctx)
			if err != nil {
				return err
			}
			heard(n.Payload)
		}
	}
}

// A program whose processes share a PostgreSQL, and are woken by it: who waits for a refresh
// of another process has the token as soon as that has stored it.
func Example_postgreSQLListen() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Panic(err)
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	if err := sqlstore.CreateTable(ctx, db, sqlstore.PostgreSQL, "tokens"); err != nil {
		log.Panic(err)
	}
	kv, err := sqlstore.Options{Listen: listenOn(ctx, pool)}.New(db, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		log.Panic(err)
	}
	key, err := store.KeyEnv("TOKENS_KEY") // of "openssl rand -hex 32"
	if err != nil {
		log.Panic(err)
	}
	tokens, err := store.NewShared(kv, store.Seal(key), nil)
	if err != nil {
		log.Panic(err)
	}

	// What a Session does when tokens is its Config.Store.
	_, _, err = tokens.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"})
	fmt.Println("login:", err)
	record, err := tokens.Load(ctx, "alice")
	if err != nil {
		log.Panic(err)
	}
	fmt.Println("stored:", record.State, record.Token.RefreshToken)
}
