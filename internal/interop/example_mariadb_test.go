package interop_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/go-sql-driver/mysql"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A program whose processes share a MariaDB.
func Example_mariaDB() {
	ctx := context.Background()
	// app:password@tcp(db.example.com)/app?tls=true
	db, err := sql.Open("mysql", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Panic(err)
	}
	defer db.Close()

	if err := sqlstore.CreateTable(ctx, db, sqlstore.MariaDB, "tokens"); err != nil {
		log.Panic(err)
	}
	kv, err := sqlstore.New(db, sqlstore.MariaDB, "tokens")
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
