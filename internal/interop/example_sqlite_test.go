package interop_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	_ "modernc.org/sqlite"
)

// A program whose processes share a SQLite file.
func Example_sqlite() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example") // in a program: a folder below os.UserConfigDir
	if err != nil {
		log.Panic(err)
	}
	defer os.RemoveAll(dir)

	// SQLite would create files that everybody may read.
	dir = filepath.Join(dir, "my-app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		log.Panic(err)
	}
	path := filepath.Join(dir, "tokens.db")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		log.Panic(err)
	}
	if err := f.Close(); err != nil {
		log.Panic(err)
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(),
		RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		log.Panic(err)
	}
	defer db.Close()

	if err := sqlstore.CreateTable(ctx, db, sqlstore.SQLite, "tokens"); err != nil {
		log.Panic(err)
	}
	kv, err := sqlstore.New(db, sqlstore.SQLite, "tokens")
	if err != nil {
		log.Panic(err)
	}
	key, err := store.LoadOrCreateKeyFile(filepath.Join(dir, "key"))
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

	// Output:
	// login: <nil>
	// stored: active r1
}
