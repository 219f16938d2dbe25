//go:build !race

package interop_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/vfs/adiantum"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A SQLite file that is encrypted as a whole, so that it does not show either how
// many users there are. It notices no change of the file by others, which sealing
// does; so tokens are sealed all the same.
func Example_encrypted() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example") // has mode 0700; in a program: a folder below os.UserConfigDir
	if err != nil {
		log.Panic(err)
	}
	defer os.RemoveAll(dir)

	fileKey := []byte("32 random bytes, from elsewhere!")
	db, err := openEncrypted(filepath.Join(dir, "tokens.db"), fileKey)
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
	key, err := store.KeyBytes("1", []byte("another 32 bytes from elsewhere!"))
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

// openEncrypted opens the file at path, whose folder must be private. The key has 32
// bytes. It is set in each new connection and not in the name, which errors and the
// file system layer may show.
func openEncrypted(path string, key []byte) (*sql.DB, error) {
	if len(key) != 32 {
		return nil, errors.New("the key of the file must have 32 bytes")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: "vfs=adiantum"}
	setKey := "PRAGMA hexkey='" + hex.EncodeToString(key) + "'"
	return driver.Open(name.String(), func(c *sqlite3.Conn) error {
		for _, pragma := range []string{setKey, "PRAGMA busy_timeout=5000", "PRAGMA journal_mode=wal",
			"PRAGMA synchronous=full", "PRAGMA temp_store=memory"} {
			if err := c.Exec(pragma); err != nil {
				return err
			}
		}
		return nil
	})
}
