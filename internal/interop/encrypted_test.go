//go:build !race

package interop_test

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// Tokens are not sealed here, to see what the encryption of the file does.
func TestEncryptedFile(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	marks := []string{"SQLite format", tableName, "updated_at", recordKey("alice"), "access-", "refresh-", string(key), hex.EncodeToString(key)}

	fill := func(t *testing.T, db *sql.DB) {
		t.Helper()
		create(t, db, sqlstore.SQLite, tableName)
		tokens := newShared(t, newKV(t, db, sqlstore.SQLite, tableName), store.Plaintext())
		if _, _, err := tokens.Replace(t.Context(), "alice", token("1")); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "tokens.db")
	db, err := openEncrypted(path, key)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fill(t, db)
	found, files := grep(t, path, marks...)
	if found != nil {
		t.Errorf("in use: %q", found)
	}
	if all := strings.Join(files, " "); !strings.Contains(all, "-wal") {
		t.Errorf("never saw a write-ahead log, only %s", all)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	// More than is kept in memory until the commit.
	if _, err := tx.Exec("INSERT INTO tokens VALUES ('big', CAST(printf('%.*c', 8000000, 'x') AS BLOB), 0)"); err != nil {
		t.Fatal(err)
	}
	if found, _ := grep(t, path, append(marks, strings.Repeat("x", 64))...); found != nil {
		t.Errorf("in a transaction: %q", found)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if found, _ := grep(t, path, marks...); found != nil {
		t.Errorf("closed: %q", found)
	}

	// The same without encryption has all but the key.
	control := sqliteFile(t)
	fill(t, open(t, "sqlite3", control))
	content := readAll(t, pathOf(control))
	for _, mark := range marks[:6] {
		if !strings.Contains(content, mark) {
			t.Errorf("a file that is not encrypted does not have %q either", mark)
		}
	}

	for name, wrong := range map[string]func() (*sql.DB, error){
		"wrong key": func() (*sql.DB, error) { return openEncrypted(path, bytes.Repeat([]byte{8}, 32)) },
		"no key":    func() (*sql.DB, error) { return sql.Open("sqlite3", "file:"+path) },
	} {
		db, err := wrong()
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		kv := newKV(t, db, sqlstore.SQLite, tableName)
		if got, err := kv.Get(t.Context(), recordKey("alice")); err == nil || !strings.Contains(err.Error(), "not a database") {
			t.Errorf("%s: %q, %v; want an error that says what is wrong", name, got, err)
		} else if strings.Contains(err.Error(), "0808") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
		if err := sqlstore.CreateTable(t.Context(), db, sqlstore.SQLite, tableName); err == nil {
			t.Errorf("%s: CreateTable succeeded", name)
		}
	}
	if db, err = openEncrypted(path, key); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got, err := newShared(t, newKV(t, db, sqlstore.SQLite, tableName), store.Plaintext()).Load(t.Context(), "alice")
	if err != nil || got.Token.RefreshToken != "refresh-1" {
		t.Errorf("with the key again: %v, %v", got, err)
	}
}

func readAll(t *testing.T, path string) (content string) {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content += string(b)
	}
	return content
}
