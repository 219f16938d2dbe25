package interop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// sqlites are the engines that need no server.
func sqlites() (found []engine) {
	for _, e := range engines {
		if e.dialect == sqlstore.SQLite {
			found = append(found, e)
		}
	}
	return found
}

// recordKey is the key of a KV for the program's key.
func recordKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func pathOf(dsn string) string {
	path, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
	return path
}

// grep returns the files in the folder of path that contain one of texts, and all
// files there.
func grep(t *testing.T, path string, texts ...string) (found, all []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(path), entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry.Name())
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				found = append(found, entry.Name()+" has "+text)
			}
		}
	}
	return found, all
}

// Every file of SQLite is looked at while it is in use, by a transaction that is not
// committed too, and after it was closed.
func TestSQLiteFilesHoldNoToken(t *testing.T) {
	for _, e := range sqlites() {
		t.Run(e.name, func(t *testing.T) {
			for _, sealed := range []bool{true, false} {
				s := store.Plaintext()
				if sealed {
					s = sealer(t)
				}
				dsn := e.place(t)
				path, db := pathOf(dsn), open(t, e.driver, dsn)
				create(t, db, e.dialect, tableName)
				tokens := newShared(t, newKV(t, db, e.dialect, tableName), s)

				var found, seen []string
				look := func() {
					hits, files := grep(t, path, "access-", "refresh-")
					found, seen = append(found, hits...), append(seen, files...)
				}
				record, _, err := tokens.Replace(t.Context(), "alice", token("1"))
				if err != nil {
					t.Fatal(err)
				}
				look()
				if _, err := tokens.Refresh(t.Context(), "alice", record, time.Second,
					func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return token("2"), nil }); err != nil {
					t.Fatal(err)
				}
				look()
				tx, err := db.Begin()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec("UPDATE tokens SET value = CAST(value || x'00' AS BLOB)"); err != nil {
					t.Fatal(err)
				}
				look()
				if err := errors.Join(tx.Rollback(), db.Close()); err != nil {
					t.Fatal(err)
				}
				look()

				if sealed && found != nil {
					t.Errorf("a sealed store left %q", found)
				}
				if !sealed && found == nil {
					t.Error("found no token of an unsealed store either")
				}
				if !slices.Contains(seen, "tokens.db-wal") {
					t.Errorf("never saw the log, only %q", seen)
				}
			}
		})
	}
}

// What SQLite creates beside a file of mode 0600 must be as private. With ncruces
// only the folder sees to that.
func TestSQLiteModes(t *testing.T) {
	for _, e := range sqlites() {
		if e.driver != "sqlite" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			dsn := e.place(t)
			db := open(t, e.driver, dsn)
			create(t, db, e.dialect, tableName)
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.Exec("INSERT INTO tokens VALUES ('k', x'00', 0)"); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(pathOf(dsn) + "*")
			if err != nil || len(files) < 2 {
				t.Fatal(files, err)
			}
			for _, file := range files {
				if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v, error %v; want 0600", filepath.Base(file), info.Mode().Perm(), err)
				}
			}
		})
	}
}

const (
	envHolder = "INTEROP_HOLDER" // a driver and a data source name
	oldValue  = "a value"
)

// A process that is in the middle of a write keeps others waiting as long as their
// contexts allow, and no longer than it lives. It leaves no half of a write.
func TestSQLiteHolderKilled(t *testing.T) {
	if holder := os.Getenv(envHolder); holder != "" {
		driver, dsn, _ := strings.Cut(holder, "\n")
		db := open(t, driver, dsn)
		db.SetMaxOpenConns(1)
		for _, text := range []string{"BEGIN IMMEDIATE", "UPDATE tokens SET value = x'00'"} {
			if _, err := db.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Println("holding")
		select {} // until killed
	}
	for _, e := range sqlites() {
		t.Run(e.name, func(t *testing.T) {
			// SQLite itself would wait for a minute.
			dsn := strings.Replace(e.place(t), "busy_timeout(5000)", "busy_timeout(60000)", 1)
			db := open(t, e.driver, dsn)
			create(t, db, e.dialect, tableName)
			kv, key := newKV(t, db, e.dialect, tableName), recordKey("alice")
			if ok, err := kv.CompareAndSwap(t.Context(), key, nil, []byte(oldValue)); err != nil || !ok {
				t.Fatal(ok, err)
			}

			holder := exec.Command(os.Args[0], "-test.run=^TestSQLiteHolderKilled$", "-test.v")
			holder.Env = append(os.Environ(), envHolder+"="+e.driver+"\n"+dsn)
			out, err := holder.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = holder.Wait() }()
			defer func() { _ = holder.Process.Kill() }()
			var said bytes.Buffer
			for b := make([]byte, 1024); !strings.Contains(said.String(), "holding"); {
				n, err := out.Read(b)
				said.Write(b[:n])
				if err != nil {
					t.Fatalf("the holder said %q, then %v", said.String(), err)
				}
			}

			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			ok, err := kv.CompareAndSwap(ctx, key, []byte(oldValue), []byte("another"))
			if took := time.Since(began); ok || !errors.Is(err, context.DeadlineExceeded) || took > 30*time.Second {
				t.Errorf("beside a writer: %t, %v, after %v; want the context's error after 300 ms", ok, err, took)
			}
			if got, err := kv.Get(t.Context(), key); string(got) != oldValue || err != nil {
				t.Errorf("Get beside a writer: %q, %v", got, err)
			}

			if err := holder.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = holder.Wait()
			if ok, err := kv.CompareAndSwap(t.Context(), key, []byte(oldValue), []byte("another")); err != nil || !ok {
				t.Errorf("after the writer was killed: %t, %v", ok, err)
			}
		})
	}
}

// The journal mode is one of the file, whatever a program's data source name says.
func TestSQLiteJournalModes(t *testing.T) {
	for _, e := range sqlites() {
		for _, mode := range []string{"delete", "truncate", "persist", "off"} {
			t.Run(e.name+" "+mode, func(t *testing.T) {
				path := privateFile(t)
				dsn := "file:" + path + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(" + mode + ")"
				db := open(t, e.driver, dsn)
				kv, key := newKV(t, db, e.dialect, tableName), recordKey("alice")
				refused := func(what string, err error) {
					if err == nil || !strings.Contains(err.Error(), "journal_mode="+mode) {
						t.Errorf("%s: %v; want an error that names the journal mode", what, err)
					}
				}
				refused("CreateTable", sqlstore.CreateTable(t.Context(), db, e.dialect, tableName))
				if info, err := os.Stat(path); err != nil || info.Size() != 0 {
					t.Errorf("something was written to the file, or error %v", err)
				}
				_, err := kv.Get(t.Context(), key)
				refused("Get", err)
				_, err = kv.CompareAndSwap(t.Context(), key, nil, []byte(oldValue))
				refused("CompareAndSwap", err)
			})
		}
		// A program is mended while it runs, on another of its connections.
		t.Run(e.name+" mended", func(t *testing.T) {
			db := open(t, e.driver, "file:"+privateFile(t)+"?_pragma=busy_timeout(5000)")
			kv, key := newKV(t, db, e.dialect, tableName), recordKey("alice")
			if err := sqlstore.CreateTable(t.Context(), db, e.dialect, tableName); err == nil {
				t.Error("CreateTable in a new file without settings: no error")
			}
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := sqlstore.CreateTable(t.Context(), db, e.dialect, tableName); err == nil {
				t.Error("CreateTable on another connection: no error")
			}
			if _, err := conn.ExecContext(t.Context(), "PRAGMA journal_mode=wal"); err != nil {
				t.Fatal(err)
			}
			create(t, db, e.dialect, tableName)
			if ok, err := kv.CompareAndSwap(t.Context(), key, nil, []byte(oldValue)); err != nil || !ok {
				t.Errorf("CompareAndSwap after the file got a log: %t, %v", ok, err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		})
		t.Run(e.name+" in memory", func(t *testing.T) {
			db := open(t, e.driver, ":memory:")
			db.SetMaxOpenConns(1)
			create(t, db, e.dialect, tableName)
			kv, key := newKV(t, db, e.dialect, tableName), recordKey("alice")
			if ok, err := kv.CompareAndSwap(t.Context(), key, nil, []byte(oldValue)); err != nil || !ok {
				t.Errorf("CompareAndSwap: %t, %v", ok, err)
			}
		})
	}
}

// A value that somebody emptied is nil to one driver and empty to another. A login replaces it.
func TestSQLiteEmptyValue(t *testing.T) {
	for _, e := range sqlites() {
		t.Run(e.name, func(t *testing.T) {
			db := open(t, e.driver, e.place(t))
			create(t, db, e.dialect, tableName)
			tokens := newShared(t, newKV(t, db, e.dialect, tableName), sealer(t))
			for _, name := range []string{"1", "2"} {
				if _, _, err := tokens.Replace(t.Context(), "alice", token(name)); err != nil {
					t.Fatalf("login %s: %v", name, err)
				}
				if got, err := tokens.Load(t.Context(), "alice"); err != nil || got.Token.AccessToken != "access-"+name {
					t.Errorf("login %s: %v, %v", name, got, err)
				}
				if _, err := db.ExecContext(t.Context(), `UPDATE "`+tableName+`" SET value = x''`); err != nil {
					t.Fatal(err)
				}
				if _, err := tokens.Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrNoToken) && !errors.Is(err, tokenclient.ErrStoreCorrupt) {
					t.Errorf("Load: %v", err)
				}
			}
		})
	}
}

// A full disk is an error, takes nothing away, and is over when there is room again.
func TestSQLiteDiskFull(t *testing.T) {
	for _, e := range sqlites() {
		t.Run(e.name, func(t *testing.T) {
			db := open(t, e.driver, e.place(t)+"&_pragma=max_page_count(8)")
			create(t, db, e.dialect, tableName)
			kv, key := newKV(t, db, e.dialect, tableName), recordKey("alice")
			if ok, err := kv.CompareAndSwap(t.Context(), key, nil, []byte(oldValue)); err != nil || !ok {
				t.Fatal(ok, err)
			}
			long := bytes.Repeat([]byte{1}, 100<<10)
			for _, old := range [][]byte{[]byte(oldValue), nil} {
				k := key
				if old == nil {
					k = recordKey("bob")
				}
				if ok, err := kv.CompareAndSwap(t.Context(), k, old, long); ok || err == nil || !strings.Contains(err.Error(), "full") {
					t.Errorf("CompareAndSwap: %t, %v; want an error that says what is full", ok, err)
				}
				if got, err := kv.Get(t.Context(), k); !bytes.Equal(got, old) || err != nil {
					t.Errorf("Get: %q, %v; want %q", got, err, old)
				}
			}
			if ok, err := kv.CompareAndSwap(t.Context(), key, []byte(oldValue), []byte("short")); err != nil || !ok {
				t.Errorf("a value for which there is room: %t, %v", ok, err)
			}
		})
	}
}

// Nothing may be presented if what comes of it cannot be stored.
func TestSQLiteReadOnly(t *testing.T) {
	for _, e := range sqlites() {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.place(t)
			db := open(t, e.driver, dsn)
			create(t, db, e.dialect, tableName)
			record, _, err := newShared(t, newKV(t, db, e.dialect, tableName), sealer(t)).Replace(t.Context(), "alice", token("1"))
			if err != nil {
				t.Fatal(err)
			}
			readOnly := open(t, e.driver, "file:"+pathOf(dsn)+"?mode=ro&_pragma=busy_timeout(5000)")
			tokens := newShared(t, newKV(t, readOnly, e.dialect, tableName), sealer(t))
			if got, err := tokens.Load(t.Context(), "alice"); err != nil || got.Token.RefreshToken != "refresh-1" {
				t.Errorf("Load: %v, %v", got, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = tokens.Refresh(ctx, "alice", record, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				t.Error("the token was presented")
				return nil, tokenclient.ErrNotPresented
			})
			if !errors.Is(err, tokenclient.ErrStoreUnavailable) {
				t.Errorf("Refresh: %v; want ErrStoreUnavailable", err)
			}
			kv := newKV(t, readOnly, e.dialect, tableName)
			if ok, err := kv.CompareAndSwap(t.Context(), recordKey("bob"), nil, []byte(oldValue)); ok || err == nil || !strings.Contains(err.Error(), "readonly") {
				t.Errorf("CompareAndSwap: %t, %v; want an error that names the cause", ok, err)
			}
		})
	}
}

// A connection that another part of the program has is waited for as long as the
// context allows.
func TestPoolInUse(t *testing.T) {
	e := engines[0]
	db := open(t, e.driver, e.place(t))
	create(t, db, e.dialect, tableName)
	db.SetMaxOpenConns(1)
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := sqlstore.New(db, e.dialect, tableName) // asks for nothing
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := kv.Get(ctx, recordKey("alice")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v; want the context's error", err)
	}
	if _, err := kv.CompareAndSwap(ctx, recordKey("alice"), nil, []byte(oldValue)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("CompareAndSwap: %v; want the context's error", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := kv.CompareAndSwap(t.Context(), recordKey("alice"), nil, []byte(oldValue)); err != nil || !ok {
		t.Errorf("with the connection given back: %t, %v", ok, err)
	}
}

// All processes of a program may start at the same time, on an empty database.
func TestConcurrentCreateTable(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			for n := range 10 {
				dsn := e.place(t) // of SQLite, a new file
				table := fmt.Sprint("tokens", n)
				var wg sync.WaitGroup
				for range 8 {
					db := open(t, e.driver, dsn)
					wg.Go(func() {
						if err := sqlstore.CreateTable(t.Context(), db, e.dialect, table); err != nil {
							t.Error(err)
						}
						_ = db.Close()
					})
				}
				wg.Wait()
			}
		})
	}
}
