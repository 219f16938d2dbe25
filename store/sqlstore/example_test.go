package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// The program imports its driver: _ "github.com/jackc/pgx/v5/stdlib". With MariaDB it
// is _ "github.com/go-sql-driver/mysql", named "mysql", and
// app:password@tcp(db.example.com)/app?tls=true.
func ExampleNew() {
	ctx := context.Background()
	// postgres://app@db.example.com/app?sslmode=verify-full
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	if err := sqlstore.CreateTable(ctx, db, sqlstore.PostgreSQL, "tokens"); err != nil {
		fmt.Println(err)
		return
	}
	kv, err := sqlstore.New(db, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := store.KeyEnv("TOKENS_KEY") // of "openssl rand -hex 32"
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := store.NewShared(kv, store.Seal(key), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = tokens // for tokenclient.Config.Store
}

// The program imports its driver: _ "modernc.org/sqlite".
func ExampleNew_sqlite() {
	config, err := os.UserConfigDir()
	if err != nil {
		fmt.Println(err)
		return
	}
	// SQLite would create files that everybody may read.
	dir := filepath.Join(config, "my-app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		fmt.Println(err)
		return
	}
	path := filepath.Join(dir, "tokens.db")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := f.Close(); err != nil {
		fmt.Println(err)
		return
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(),
		RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	if err := sqlstore.CreateTable(context.Background(), db, sqlstore.SQLite, "tokens"); err != nil {
		fmt.Println(err)
		return
	}
	kv, err := sqlstore.New(db, sqlstore.SQLite, "tokens")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := store.LoadOrCreateKeyFile(filepath.Join(dir, "key"))
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := store.NewShared(kv, store.Seal(key), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = tokens // for tokenclient.Config.Store
}
