package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// use returns the errors of all that a program can ask of a table.
func use(t *testing.T, db *sql.DB, kv store.KV) []error {
	_, getErr := kv.Get(t.Context(), "k")
	_, createErr := kv.CompareAndSwap(t.Context(), "k", nil, []byte("v"))
	_, swapErr := kv.CompareAndSwap(t.Context(), "k", []byte("v"), []byte("w"))
	return []error{getErr, createErr, swapErr, sqlstore.CreateTable(t.Context(), db, sqlstore.SQLite, "tokens")}
}

func newKV(t *testing.T, db *sql.DB, d sqlstore.Dialect, table string) store.KV {
	t.Helper()
	kv, err := sqlstore.New(db, d, table)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestOldSQLite(t *testing.T) {
	for version, good := range map[string]bool{
		"3.51.3": true, "3.51.10": true, "3.52.0": true, "4.0.0": true,
		"3.51.2": false, "3.50.9": false, "3.9.9": false, "2.99.99": false, "": false, "new": false,
	} {
		var ran []string
		db := sql.OpenDB(connector{version: version, ran: &ran})
		defer db.Close()
		for _, err := range use(t, db, newKV(t, db, sqlstore.SQLite, "tokens")) {
			if good {
				if err != nil {
					t.Errorf("version %q: %v", version, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), "tokens") || !strings.Contains(err.Error(), version) ||
				strings.HasPrefix(version, "3") && !strings.Contains(err.Error(), "3.51.3") {
				t.Errorf("version %q: error %v; want one that names it, 3.51.3 and the table", version, err)
			}
		}
		for _, query := range ran {
			if !good && strings.Contains(query, "tokens") {
				t.Errorf("version %q was used: %s", version, query)
			}
		}
	}
}

func TestJournalMode(t *testing.T) {
	for mode, good := range map[string]bool{
		"wal": true, "memory": true,
		"delete": false, "truncate": false, "persist": false, "off": false,
	} {
		var ran []string
		db := sql.OpenDB(connector{version: "3.51.3", journal: mode, ran: &ran})
		defer db.Close()
		for _, err := range use(t, db, newKV(t, db, sqlstore.SQLite, "tokens")) {
			if good && err != nil {
				t.Errorf("journal mode %s: %v", mode, err)
			}
			if !good && (err == nil || !strings.Contains(err.Error(), "table tokens: ") ||
				!strings.Contains(err.Error(), "journal_mode="+mode) || !strings.Contains(err.Error(), "PRAGMA journal_mode=wal")) {
				t.Errorf("journal mode %s: error %v; want one that names it, the table, and what helps", mode, err)
			}
		}
		for _, query := range ran {
			if !good && strings.Contains(query, "tokens") {
				t.Errorf("a database with journal mode %s was used: %s", mode, query)
			}
		}
	}
}

// Who makes the table is not told that another connection has locked the file, unless that
// lasts or he leaves.
func TestCreateTableInLockedFile(t *testing.T) {
	cause := errors.New("database is locked (5) (SQLITE_BUSY)")
	for name, c := range map[string]struct {
		locked, patience time.Duration
		cause            error
		took             time.Duration // at most
		good             bool
	}{
		"for a moment":         {time.Second, time.Minute, cause, 1100 * time.Millisecond, true},
		"for good":             {time.Hour, time.Minute, cause, 5100 * time.Millisecond, false},
		"longer than he waits": {time.Hour, time.Second, cause, time.Second, false},
		"by something else":    {time.Hour, time.Minute, errors.New("disk I/O error"), 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			db := sql.OpenDB(connector{version: "3.51.3", fail: func() error {
				if time.Since(began) < c.locked {
					return c.cause
				}
				return nil
			}})
			defer db.Close()
			ctx, cancel := context.WithTimeout(t.Context(), c.patience)
			defer cancel()
			err := sqlstore.CreateTable(ctx, db, sqlstore.SQLite, "tokens")
			if took := time.Since(began); (err == nil) != c.good || !c.good && !errors.Is(err, c.cause) || took > c.took {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			if c.patience == time.Second && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v; want the context's error too", name, err)
			}
		})
	}
}

// A connection that breaks while the file is looked at is told as one, not as a database that
// the program has closed.
func TestCreateTableBrokenConnection(t *testing.T) {
	db := sql.OpenDB(connector{version: "3.51.3", prepare: func() error { return driver.ErrBadConn }})
	defer db.Close()
	err := sqlstore.CreateTable(t.Context(), db, sqlstore.SQLite, "tokens")
	if !errors.Is(err, driver.ErrBadConn) || !strings.Contains(err.Error(), "the connection broke") {
		t.Error(err)
	}
}

// The mode that counts is that of the file which has the table.
func TestJournalModeOfSchema(t *testing.T) {
	var ran []string
	db := sql.OpenDB(connector{version: "3.51.3", ran: &ran})
	defer db.Close()
	for range 3 {
		if err := sqlstore.CreateTable(t.Context(), db, sqlstore.SQLite, "other.tokens"); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Index(ran, `PRAGMA "other".journal_mode`); got < 0 {
		t.Errorf("ran %q; want a look at the journal mode of the schema", ran)
	}
}

// One good answer is enough, and one that is bad is not for good.
func TestFitOnce(t *testing.T) {
	var ran []string
	c := connector{version: "3.51.3", journal: "delete", ran: &ran}
	answers := &changing{connector: c}
	db := sql.OpenDB(answers)
	defer db.Close()
	kv := newKV(t, db, sqlstore.SQLite, "tokens")
	if _, err := kv.Get(t.Context(), "k"); err == nil {
		t.Error("Get from a file without a log: no error")
	}
	answers.journal = "wal"
	db.SetMaxIdleConns(-1) // the next connection has the new answer
	for range 3 {
		if _, err := kv.Get(t.Context(), "k"); err != nil {
			t.Errorf("Get after the file got a log: %v", err)
		}
	}
	asked := 0
	for _, query := range ran {
		if strings.Contains(query, "journal_mode") {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times for the journal mode; want once each before and after: %q", asked, ran)
	}
}

// changing is a connector whose answers can be changed.
type changing struct{ connector }

func (c *changing) Connect(context.Context) (driver.Conn, error) { return conn{c.connector}, nil }

func TestOthersAreNotAskedWhatSQLiteIs(t *testing.T) {
	for _, d := range []sqlstore.Dialect{sqlstore.PostgreSQL, sqlstore.MariaDB} {
		db := sql.OpenDB(connector{version: "3.0.0", journal: "delete"})
		defer db.Close()
		kv := newKV(t, db, d, "tokens")
		_, getErr := kv.Get(t.Context(), "k")
		_, swapErr := kv.CompareAndSwap(t.Context(), "k", nil, []byte("v"))
		if err := errors.Join(getErr, swapErr, sqlstore.CreateTable(t.Context(), db, d, "tokens")); err != nil {
			t.Errorf("dialect %d: %v", d, err)
		}
	}
}

// slowWrites is a driver whose writes last until they are told to end.
type slowWrites struct {
	mu   sync.Mutex
	at   []string // keys that are being written
	next chan struct{}
}

func (w *slowWrites) exec(key driver.Value) {
	w.mu.Lock()
	w.at = append(w.at, key.(string))
	w.mu.Unlock()
	<-w.next
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = slices.DeleteFunc(w.at, func(k string) bool { return k == key })
}

// now returns what is being written once everybody waits.
func (w *slowWrites) now() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.at, " ")
}

const tenKeys = "a b c d e f g h i j"

// Of those that write through one KV, SQLite meets one at a time, first come first
// served. Who reads does not wait, and who leaves the line is not served.
func TestSQLiteWritersWaitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWrites{next: make(chan struct{})}
		db := sql.OpenDB(connector{version: "3.51.3", exec: w.exec})
		defer db.Close()
		kv := newKV(t, db, sqlstore.SQLite, "tokens")
		var wg sync.WaitGroup
		leaving, leave := context.WithCancel(t.Context())
		for _, key := range strings.Fields(tenKeys) {
			wg.Go(func() {
				ctx := t.Context()
				if key == "d" || key == "j" {
					ctx = leaving
				}
				swapped, err := kv.CompareAndSwap(ctx, key, nil, []byte("v"))
				if ctx == leaving {
					if swapped || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "table tokens: in line") {
						t.Errorf("%s left the line: %t, %v; want the context's error and where it was", key, swapped, err)
					}
				} else if !swapped || err != nil {
					t.Errorf("%s: %t, %v", key, swapped, err)
				}
			})
			synctest.Wait()
		}
		if _, err := kv.Get(t.Context(), "k"); err != nil {
			t.Errorf("Get beside writers: %v", err)
		}
		leave()
		for _, want := range strings.Fields("a b c e f g h i") {
			if got := w.now(); got != want {
				t.Fatalf("writing %q; want %q", got, want)
			}
			w.next <- struct{}{}
		}
		wg.Wait()
	})
}

// A write that fails, or whose caller has left, makes room for the next one.
func TestSQLiteLineGoesOn(t *testing.T) {
	cause := errors.New("the disk is full")
	db := sql.OpenDB(connector{version: "3.51.3", fail: func() error { return cause }})
	defer db.Close()
	kv := newKV(t, db, sqlstore.SQLite, "tokens")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		for ctx, want := range map[context.Context]error{t.Context(): cause, gone: context.Canceled} {
			if _, err := kv.CompareAndSwap(ctx, "k", nil, []byte("v")); !errors.Is(err, want) {
				t.Errorf("CompareAndSwap: %v; want %v", err, want)
			}
		}
	}
}

// A server sees to its clients itself, up to the bound.
func TestServersSeeAllWriters(t *testing.T) {
	for _, d := range []sqlstore.Dialect{sqlstore.PostgreSQL, sqlstore.MariaDB} {
		synctest.Test(t, func(t *testing.T) {
			w := &slowWrites{next: make(chan struct{})}
			db := sql.OpenDB(connector{exec: w.exec})
			defer db.Close()
			kv, err := sqlstore.Options{MaxOperations: 13}.New(db, d, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for _, key := range strings.Fields(tenKeys) {
				wg.Go(func() {
					if swapped, err := kv.CompareAndSwap(t.Context(), key, nil, []byte("v")); !swapped || err != nil {
						t.Errorf("%s: %t, %v", key, swapped, err)
					}
				})
				synctest.Wait()
			}
			if got := w.now(); got != tenKeys {
				t.Errorf("dialect %d: writing %q; want %q", d, got, tenKeys)
			}
			close(w.next)
			wg.Wait()
		})
	}
}
