package fleet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// engineNames are all of engines, in the order of the tables.
var engineNames = []string{"File", "SQLite", "Redis", "PostgreSQL", "MariaDB"}

// deafPostgreSQL is PostgreSQL without a listener. What it does besides is PostgreSQL's.
const deafPostgreSQL = "PostgreSQL, no listener"

// An engine is one that the project ships.
type engine struct {
	// start starts one, private to the test, and prepares it.
	start func(t testing.TB) *running

	// open opens it in any process.
	open func(address string, margin time.Duration) (tokenclient.Store, error)
}

// running is an engine at work.
type running struct {
	address string
	cut     func(t testing.TB) (mend func()) // makes it useless for a while
}

var engines map[string]engine

func init() { // an agent needs engines, whose tests need members
	engines = map[string]engine{
		"File":       {startFile, openFile},
		"SQLite":     {startSQLite, openSQL("sqlite", sqlstore.SQLite)},
		"Redis":      {startRedis, openRedis},
		"PostgreSQL": {startPostgreSQL, openPostgreSQL},
		"MariaDB":    {startMariaDB, openSQL("mysql", sqlstore.MariaDB)},

		deafPostgreSQL: {startPostgreSQL, openSQL("pgx", sqlstore.PostgreSQL)},
	}
}

func sealer() (*store.Sealer, error) {
	key, err := store.KeyBytes("fleet", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		return nil, err
	}
	return store.Seal(key), nil
}

func shared(kv store.KV, margin time.Duration) (tokenclient.Store, error) {
	seal, err := sealer()
	if err != nil {
		return nil, err
	}
	return store.NewShared(noted(kv), seal, &store.SharedOptions{Margin: margin})
}

func startFile(t testing.TB) *running {
	dir := filepath.Join(t.TempDir(), "tokens")
	sum := sha256.Sum256([]byte(account))
	return &running{dir, func(t testing.TB) func() {
		// Whoever wants to write waits.
		lock := flock.New(filepath.Join(dir, hex.EncodeToString(sum[:])+".lock"))
		if err := lock.Lock(); err != nil {
			t.Error(err)
		}
		return func() { _ = lock.Close() }
	}}
}

func openFile(dir string, _ time.Duration) (tokenclient.Store, error) {
	seal, err := sealer()
	if err != nil {
		return nil, err
	}
	return store.NewFile(dir, seal)
}

// openSQL opens a database of which an agent needs no more than two connections.
func openSQL(driver string, d sqlstore.Dialect) func(string, time.Duration) (tokenclient.Store, error) {
	return func(dsn string, margin time.Duration) (tokenclient.Store, error) {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(2)
		kv, err := sqlstore.New(db, d, "tokens")
		if err != nil {
			return nil, err
		}
		return shared(kv, margin)
	}
}

// openPostgreSQL opens one that tells of what changes.
func openPostgreSQL(dsn string, margin time.Duration) (tokenclient.Store, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	listen := func(ctx context.Context, channel string, heard func(string)) error {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
			return err
		}
		for heard(""); ; {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				return err
			}
			heard(n.Payload)
		}
	}
	kv, err := sqlstore.Options{Listen: listen}.New(db, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		return nil, err
	}
	return shared(kv, margin)
}

// createTable prepares a database, which it returns open.
func createTable(t testing.TB, driver string, d sqlstore.Dialect, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := sqlstore.CreateTable(t.Context(), db, d, "tokens"); err != nil {
		t.Fatal(err)
	}
	return db
}

func startSQLite(t testing.TB) *running {
	dsn := "file:" + filepath.Join(t.TempDir(), "tokens.db") +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	db := createTable(t, "sqlite", sqlstore.SQLite, dsn)
	return &running{dsn, func(t testing.TB) func() {
		tx, err := db.BeginTx(context.Background(), nil) // immediate: whoever wants to write waits
		if err != nil {
			t.Error(err)
			return func() {}
		}
		return func() { _ = tx.Rollback() }
	}}
}

// cutServer kills a server or, every other time, makes it stand still.
func cutServer(s *servers.Server) func(testing.TB) func() {
	times := 0
	return func(testing.TB) func() {
		if times++; times%2 == 0 {
			s.Freeze()
			return s.Thaw
		}
		s.Stop()
		return s.Start
	}
}

func startRedis(t testing.TB) *running {
	s := servers.Redis(t)
	return &running{s.Address, cutServer(s)}
}

func openRedis(address string, margin time.Duration) (tokenclient.Store, error) {
	return shared(redisstore.New(redis.NewClient(&redis.Options{Addr: address, ContextTimeoutEnabled: true}), "fleet:"), margin)
}

func startPostgreSQL(t testing.TB) *running { return postgreSQL(t, "max_connections=200") }

func postgreSQL(t testing.TB, settings ...string) *running {
	s := servers.PostgreSQL(t, settings...)
	dsn := (&url.URL{
		Scheme: "postgres", User: url.User(s.User), Host: s.Address, Path: s.Database, RawQuery: "sslmode=disable",
	}).String()
	createTable(t, "pgx", sqlstore.PostgreSQL, dsn)
	return &running{dsn, cutServer(s)}
}

func startMariaDB(t testing.TB) *running { return mariaDB(t, "--max-connections=200") }

func mariaDB(t testing.TB, options ...string) *running {
	s := servers.MariaDB(t, options...)
	dsn := fmt.Sprintf("%s@tcp(%s)/%s", s.User, s.Address, s.Database)
	createTable(t, "mysql", sqlstore.MariaDB, dsn)
	return &running{dsn, cutServer(s)}
}
