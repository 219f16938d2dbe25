package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// What the statements do is tested against real databases in internal/interop.

func TestNewRefuses(t *testing.T) {
	db := sql.OpenDB(connector{version: "3.51.3"})
	defer db.Close()
	for _, test := range []struct {
		name    string
		db      *sql.DB
		dialect sqlstore.Dialect
		table   string
		want    string
	}{
		{"nil", nil, sqlstore.SQLite, "tokens", "nil"},
		{"zero dialect", db, 0, "tokens", "dialect 0"},
		{"unknown dialect", db, sqlstore.MariaDB + 1, "tokens", "dialect 4"},
		{"negative dialect", db, -1, "tokens", "dialect -1"},
		{"empty name", db, sqlstore.SQLite, "", `table name ""`},
		{"digit first", db, sqlstore.SQLite, "1tokens", "table name"},
		{"quote", db, sqlstore.PostgreSQL, `tokens"`, "table name"},
		{"backtick", db, sqlstore.MariaDB, "tok`ens", "table name"},
		{"statement", db, sqlstore.SQLite, "tokens; DROP TABLE users", "table name"},
		{"line break", db, sqlstore.SQLite, "tokens\n", `"tokens\n"`},
		{"not ASCII", db, sqlstore.SQLite, "tökens", "table name"},
		{"64 characters", db, sqlstore.SQLite, strings.Repeat("t", 64), "table name"},
		{"schema of 64", db, sqlstore.SQLite, strings.Repeat("s", 64) + ".tokens", "table name"},
		{"two dots", db, sqlstore.SQLite, "a.b.c", "table name"},
		{"no schema", db, sqlstore.SQLite, ".tokens", "table name"},
		{"no table", db, sqlstore.SQLite, "main.", "table name"},
		{"space", db, sqlstore.SQLite, "main .tokens", "table name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			kv, err := sqlstore.New(test.db, test.dialect, test.table)
			if kv != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: %v, %v; want an error with %q", kv, err, test.want)
			}
			err = sqlstore.CreateTable(t.Context(), test.db, test.dialect, test.table)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("CreateTable: %v; want an error with %q", err, test.want)
			}
		})
	}
}

func TestOptionsRefused(t *testing.T) {
	db := sql.OpenDB(connector{})
	defer db.Close()
	kv, err := sqlstore.Options{MaxOperations: -1}.New(db, sqlstore.PostgreSQL, "tokens")
	if kv != nil || err == nil || !strings.Contains(err.Error(), "MaxOperations is negative: -1; 0 means 10") {
		t.Errorf("%v, %v", kv, err)
	}
}

func TestNewAccepts(t *testing.T) {
	db := sql.OpenDB(connector{version: "3.51.3"})
	defer db.Close()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MariaDB} {
		for _, table := range []string{"t", "_", "Tokens_2", "select", strings.Repeat("t", 63), "main.tokens", strings.Repeat("s", 63) + "." + strings.Repeat("t", 63)} {
			if kv, err := sqlstore.New(db, d, table); kv == nil || err != nil {
				t.Errorf("New with dialect %d, table %s: %v, %v", d, table, kv, err)
			}
		}
	}
}

// The package documentation has the statements in full.
func TestDocumentedTables(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MariaDB} {
		var ran []string
		db := sql.OpenDB(connector{version: "3.51.3", ran: &ran})
		defer db.Close()
		if err := sqlstore.CreateTable(t.Context(), db, d, "tokens"); err != nil {
			t.Fatal(err)
		}
		if last := ran[len(ran)-1]; !strings.Contains(string(doc), "//\t"+last+"\n") {
			t.Errorf("doc.go lacks the statement\n%s", last)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("the driver's own words")
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MariaDB} {
		ctx, cancel := context.WithCancel(t.Context())
		db := sql.OpenDB(connector{version: "3.51.3", fail: func() error { return cause }})
		defer db.Close()
		kv, err := sqlstore.New(db, d, "app.tokens")
		if err != nil {
			t.Fatal(err)
		}
		check := func(op string, err error, want error) {
			t.Helper()
			if !errors.Is(err, want) || !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "sqlstore: "+op+" table app.tokens: ") ||
				strings.Contains(err.Error(), "secret") {
				t.Errorf("dialect %d, %s: %v; want the operation, the table, and %v", d, op, err, want)
			}
		}
		_, err = kv.Get(ctx, "secret-key")
		check("read", err, cause)
		_, err = kv.CompareAndSwap(ctx, "secret-key", nil, []byte("secret-new"))
		check("write", err, cause)
		_, err = kv.CompareAndSwap(ctx, "secret-key", []byte("secret-old"), []byte("secret-new"))
		check("write", err, cause)
		check("create", sqlstore.CreateTable(ctx, db, d, "app.tokens"), cause)

		// A driver that does not say that it stopped because of the context.
		stuck := sql.OpenDB(connector{version: "3.51.3", fail: func() error { cancel(); return cause }})
		defer stuck.Close()
		if kv, err = sqlstore.New(stuck, d, "app.tokens"); err != nil {
			t.Fatal(err)
		}
		_, err = kv.CompareAndSwap(ctx, "secret-key", nil, []byte("secret-new"))
		check("write", err, context.Canceled)
	}
}

type stateError string

func (e stateError) Error() string    { return "refused" }
func (e stateError) SQLState() string { return string(e) }

// TestReplicaIsLeft: a connection to a replica is not used again. After a failover the pool has
// connections to what was the primary, and new ones lead to what is.
func TestReplicaIsLeft(t *testing.T) {
	read := func(kv store.KV) error {
		value, err := kv.Get(t.Context(), "k")
		if value != nil {
			t.Errorf("a value: %q", value)
		}
		return err
	}
	write := func(kv store.KV) error {
		swapped, err := kv.CompareAndSwap(t.Context(), "k", nil, []byte("v"))
		if swapped {
			t.Error("swapped")
		}
		return err
	}
	for _, test := range []struct {
		name    string
		c       connector
		do      func(store.KV) error
		want    string
		connect int // for three calls
	}{
		{"read", connector{replica: true}, read, "sqlstore: read table tokens: the server is a replica", 3},
		{"write", connector{fail: func() error { return stateError("25006") }}, write, "sqlstore: write table tokens: the server takes no writes: it is a replica", 3},
		{"a node without its cluster", connector{fail: func() error {
			return errors.New("Error 1047 (08S01): WSREP has not yet prepared node for application use")
		}}, read, "sqlstore: read table tokens: the node has lost its cluster, or has not joined it yet (error 1047, SQLSTATE 08S01)", 3},
		{"another refusal", connector{fail: func() error { return stateError("42501") }}, write, "the account lacks the right", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := 0
			test.c.connect = func() { made++ }
			db := sql.OpenDB(test.c)
			defer db.Close()
			kv, err := sqlstore.New(db, sqlstore.PostgreSQL, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := test.do(kv); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v; want %q", err, test.want)
				}
			}
			if made != test.connect {
				t.Errorf("%d connections were made, want %d", made, test.connect)
			}
		})
	}
}
