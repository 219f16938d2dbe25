package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

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

func TestOldSQLite(t *testing.T) {
	ctx := t.Context()
	for version, good := range map[string]bool{
		"3.51.3": true, "3.51.10": true, "3.52.0": true, "4.0.0": true,
		"3.51.2": false, "3.50.9": false, "3.9.9": false, "2.99.99": false, "": false, "new": false,
	} {
		var ran []string
		db := sql.OpenDB(connector{version: version, ran: &ran})
		defer db.Close()
		kv, err := sqlstore.New(db, sqlstore.SQLite, "tokens")
		if err != nil {
			t.Fatal(err)
		}
		_, getErr := kv.Get(ctx, "k")
		_, swapErr := kv.CompareAndSwap(ctx, "k", nil, []byte("v"))
		createErr := sqlstore.CreateTable(ctx, db, sqlstore.SQLite, "tokens")
		for _, err := range []error{getErr, swapErr, createErr} {
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
	for _, d := range []sqlstore.Dialect{sqlstore.PostgreSQL, sqlstore.MariaDB} {
		db := sql.OpenDB(connector{version: "3.0.0"})
		defer db.Close()
		if err := sqlstore.CreateTable(ctx, db, d, "tokens"); err != nil {
			t.Errorf("dialect %d asked for the version of SQLite: %v", d, err)
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

// A connector is a driver that knows its version and nothing else: every other
// statement succeeds, or fails, without effect.
type connector struct {
	version string
	ran     *[]string    // statements, if not nil
	fail    func() error // nil: none fails
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn{c}, nil }
func (c connector) Driver() driver.Driver                        { return nil }

type conn struct{ connector }

func (c conn) Prepare(query string) (driver.Stmt, error) {
	if c.ran != nil {
		*c.ran = append(*c.ran, query)
	}
	return stmt{c, strings.Contains(query, "sqlite_version")}, nil
}
func (conn) Close() error              { return nil }
func (conn) Begin() (driver.Tx, error) { return nil, errors.New("nobody needs a transaction") }

type stmt struct {
	conn
	version bool
}

func (stmt) Close() error  { return nil }
func (stmt) NumInput() int { return -1 }

func (s stmt) Exec([]driver.Value) (driver.Result, error) {
	if s.fail != nil {
		return nil, s.fail()
	}
	return driver.RowsAffected(1), nil
}

func (s stmt) Query([]driver.Value) (driver.Rows, error) {
	if s.version {
		return &rows{left: []string{s.connector.version}}, nil
	}
	if s.fail != nil {
		return nil, s.fail()
	}
	return &rows{}, nil
}

type rows struct{ left []string }

func (*rows) Columns() []string { return []string{"column"} }
func (*rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	dest[0], r.left = r.left[0], nil
	return nil
}
