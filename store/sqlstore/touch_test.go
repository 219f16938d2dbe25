package sqlstore_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/filewatch"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// TestSQLiteTells: who waits is told of swaps, also of those by another KV; and nobody of what
// was not swapped. storetest.RunKV has the rest, with real ones.
func TestSQLiteTells(t *testing.T) {
	if !filewatch.Supported {
		t.Skip("nobody tells of files here")
	}
	file := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() store.KV {
		db := sql.OpenDB(connector{version: "3.51.3", file: file})
		t.Cleanup(func() { _ = db.Close() })
		return newKV(t, db, sqlstore.SQLite, "tokens")
	}
	waits, swaps := open().(store.Notifier), open()
	if hears, stop := waits.Watch("k", func() {}); hears != nil || stop != nil {
		t.Error("it hears of a file that it has not opened yet")
	}
	if _, err := waits.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{}, 1)
	hears, stop := waits.Watch("k", func() { told <- struct{}{} })
	<-told // it may have changed before
	if !hears() {
		t.Error("it does not hear")
	}
	for range 3 {
		if swapped, err := swaps.CompareAndSwap(t.Context(), "k", []byte("v"), []byte("w")); !swapped || err != nil {
			t.Fatal(swapped, err)
		}
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Fatal("not told")
		}
	}
	stop()
	if hears() {
		t.Error("it hears after the last stop")
	}
}

// TestSQLiteWithoutAFile: of a database in memory, or of a driver that does not say where the
// file is, nobody tells; nor in a bubble.
func TestSQLiteWithoutAFile(t *testing.T) {
	for name, file := range map[string]string{
		"in memory":              "",
		"a name of the driver's": "vfs.db",
		"gone":                   filepath.Join(t.TempDir(), "folder", "tokens.db"),
		"in a bubble":            filepath.Join(t.TempDir(), "tokens.db"),
	} {
		synctest.Test(t, func(t *testing.T) {
			db := sql.OpenDB(connector{version: "3.51.3", file: file})
			defer db.Close()
			kv := newKV(t, db, sqlstore.SQLite, "tokens")
			if swapped, err := kv.CompareAndSwap(t.Context(), "k", nil, []byte("v")); !swapped || err != nil {
				t.Errorf("%s: %v, %v", name, swapped, err)
			}
			if n, ok := kv.(store.Notifier); ok {
				if hears, stop := n.Watch("k", func() {}); hears != nil || stop != nil {
					t.Errorf("%s: it hears", name)
				}
			}
		})
	}
}
