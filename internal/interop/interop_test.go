package interop_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const tableName = "tokens"

// An engine is a database with a driver and settings.
type engine struct {
	name    string
	dialect sqlstore.Dialect
	driver  string

	// place makes an empty database, or a server with one, that ends with the
	// test, and returns its data source name.
	place func(t testing.TB) (dsn string)

	options func(t testing.TB, dsn string) sqlstore.Options // nil: none
}

// newKV is sqlstore.New with the options of e.
func (e *engine) newKV(t testing.TB, dsn, table string) store.KV {
	t.Helper()
	var o sqlstore.Options
	if e.options != nil {
		o = e.options(t, dsn)
	}
	kv, err := o.New(open(t, e.driver, dsn), e.dialect, table)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// listens makes a PostgreSQL tell of what changes.
func listens(t testing.TB, dsn string) sqlstore.Options {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return sqlstore.Options{Listen: listenOn(t.Context(), pool)}
}

// engines has each database once; engines_test.go adds other drivers and settings.
var engines = []engine{
	{"SQLite modernc", sqlstore.SQLite, "sqlite", sqliteFile, nil},
	{"PostgreSQL", sqlstore.PostgreSQL, "pgx", postgreSQL(""), nil},
	{"MariaDB counting changed rows", sqlstore.MariaDB, "mysql", mariaDB("clientFoundRows=false"), nil},
}

// sqliteFile returns the data source name of the package documentation of sqlstore,
// for both drivers.
func sqliteFile(t testing.TB) string {
	return "file:" + privateFile(t) + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"
}

// privateFile is what the documentation says to do before SQLite opens a file.
func privateFile(t testing.TB) (path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "tokens.db")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func postgreSQL(options string) func(t testing.TB) string {
	return func(t testing.TB) string { return postgreSQLName(servers.PostgreSQL(t)) + options }
}

func postgreSQLName(s *servers.Server) string {
	return "postgres://" + s.User + "@" + s.Address + "/" + s.Database + "?sslmode=disable"
}

func mariaDB(options string) func(t testing.TB) string {
	return func(t testing.TB) string { return mariaDBName(servers.MariaDB(t)) + "?" + options }
}

func mariaDBName(s *servers.Server) string {
	return s.User + "@tcp(" + s.Address + ")/" + s.Database
}

// open opens a database that is closed with the test.
func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// newKV is sqlstore.New.
func newKV(t testing.TB, db *sql.DB, d sqlstore.Dialect, table string) store.KV {
	t.Helper()
	kv, err := sqlstore.New(db, d, table)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// create is sqlstore.CreateTable.
func create(t testing.TB, db *sql.DB, d sqlstore.Dialect, table string) {
	t.Helper()
	if err := sqlstore.CreateTable(t.Context(), db, d, table); err != nil {
		t.Fatal(err)
	}
}

func newShared(t testing.TB, kv store.KV, s *store.Sealer) *store.Shared {
	t.Helper()
	shared, err := store.NewShared(kv, s, &store.SharedOptions{Margin: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

func sealer(t testing.TB) *store.Sealer {
	t.Helper()
	key, err := store.KeyBytes("test", []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return store.Seal(key)
}

func token(n string) *tokenclient.Token {
	return &tokenclient.Token{AccessToken: "access-" + n, RefreshToken: "refresh-" + n}
}

// TestConformance runs both suites against each engine, in several processes too.
func TestConformance(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			var dsn string // of the server for all; in child processes it is in the address
			var tables atomic.Int32
			storetest.RunKV(t,
				func(t testing.TB, address string) store.KV {
					dsn, table, _ := strings.Cut(address, "\n")
					return e.newKV(t, dsn, table)
				},
				func(row *testing.T) string {
					place := dsn
					if e.dialect == sqlstore.SQLite {
						place = e.place(row) // a file costs nothing
					} else if dsn == "" {
						dsn = e.place(t)
						place = dsn
					}
					table := fmt.Sprint("tokens", tables.Add(1))
					create(row, open(row, e.driver, place), e.dialect, table)
					return place + "\n" + table
				})
		})
	}
}

// benchmark values are as long as a record with two tokens of 1 KiB.
func BenchmarkGet(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			kv, key, value := benchmark(b, e)
			for b.Loop() {
				if got, err := kv.Get(b.Context(), key); err != nil || len(got) != len(value) {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}

func BenchmarkCompareAndSwap(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			kv, key, old := benchmark(b, e)
			other := []byte(strings.Repeat("y", len(old)))
			for b.Loop() {
				if ok, err := kv.CompareAndSwap(b.Context(), key, old, other); err != nil || !ok {
					b.Fatal(ok, err)
				}
				old, other = other, old
			}
		})
	}
}

func benchmark(b *testing.B, e engine) (kv store.KV, key string, value []byte) {
	db := open(b, e.driver, e.place(b))
	create(b, db, e.dialect, tableName)
	kv, key, value = newKV(b, db, e.dialect, tableName), strings.Repeat("0", 64), []byte(strings.Repeat("x", 3000))
	if ok, err := kv.CompareAndSwap(b.Context(), key, nil, value); err != nil || !ok {
		b.Fatal(ok, err)
	}
	return kv, key, value
}
