package interop_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A remote is an engine whose server can be stopped.
type remote struct {
	name    string
	dialect sqlstore.Dialect
	driver  string
	start   func(testing.TB, ...string) *servers.Server
	dsn     func(*servers.Server) string
	cut     string // a query that ends all other connections, or returns statements that do
}

var remotes = []remote{
	{"PostgreSQL", sqlstore.PostgreSQL, "pgx", servers.PostgreSQL, postgreSQLName,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"},
	{"MariaDB", sqlstore.MariaDB, "mysql", servers.MariaDB, mariaDBName,
		"SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command <> 'Daemon'"},
}

// forRemotes runs do with a database that has a table and a login in it.
func forRemotes(t *testing.T, do func(t *testing.T, s *servers.Server, r remote, db *sql.DB, tokens *store.Shared, login tokenclient.Record)) {
	for _, r := range remotes {
		t.Run(r.name, func(t *testing.T) {
			s := r.start(t)
			db := open(t, r.driver, r.dsn(s))
			create(t, db, r.dialect, tableName)
			tokens := newShared(t, newKV(t, db, r.dialect, tableName), sealer(t))
			login, _, err := tokens.Replace(t.Context(), "alice", token("1"))
			if err != nil {
				t.Fatal(err)
			}
			do(t, s, r, db, tokens, login)
		})
	}
}

// mustRefresh refreshes the record until the store is back.
func mustRefresh(t *testing.T, tokens *store.Shared, seen tokenclient.Record, n string) tokenclient.Record {
	t.Helper()
	var err error
	for range 20 {
		var r tokenclient.Record
		r, err = tokens.Refresh(t.Context(), "alice", seen, 5*time.Second,
			func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return token(n), nil })
		if err == nil {
			if r.Number != seen.Number+1 || r.Token.RefreshToken != "refresh-"+n {
				t.Errorf("Refresh: number %d, token %v", r.Number, r.Token)
			}
			return r
		}
	}
	t.Fatalf("Refresh: %v", err)
	return seen
}

// wantUnavailable tries what a session does while the engine cannot be used. One
// answer in time is enough: a busy machine is slow.
func wantUnavailable(t *testing.T, tokens *store.Shared, seen tokenclient.Record, deadline time.Duration) {
	t.Helper()
	for op, do := range map[string]func(context.Context) error{
		"Load": func(ctx context.Context) error {
			_, err := tokens.Load(ctx, "alice")
			return err
		},
		"Replace": func(ctx context.Context) error {
			_, _, err := tokens.Replace(ctx, "alice", token("9"))
			return err
		},
		"Refresh": func(ctx context.Context) error {
			_, err := tokens.Refresh(ctx, "alice", seen, time.Second,
				func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					t.Error("the token was presented")
					return nil, tokenclient.ErrNotPresented
				})
			return err
		},
	} {
		var fastest time.Duration
		for try := range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			began := time.Now()
			err := do(ctx)
			took := time.Since(began)
			cancel()
			if !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, tokenclient.ErrNoToken) {
				t.Errorf("%s: %v; want ErrStoreUnavailable", op, err)
			}
			if try == 0 || took < fastest {
				fastest = took
			}
			if fastest < deadline+2*time.Second {
				break
			}
		}
		if fastest > deadline+2*time.Second {
			t.Errorf("%s took %v, though its context ended after %v", op, fastest, deadline)
		}
	}
}

// A server that is restarted is used again by the same *sql.DB.
func TestServerStops(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, _ remote, _ *sql.DB, tokens *store.Shared, login tokenclient.Record) {
		s.Stop()
		wantUnavailable(t, tokens, login, 500*time.Millisecond)
		s.Start()
		mustRefresh(t, tokens, login, "2")
	})
}

// A server that does not answer keeps nobody longer than the context: here it does not
// answer before Load has returned.
func TestServerHangs(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, _ remote, _ *sql.DB, tokens *store.Shared, login tokenclient.Record) {
		s.Freeze()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := tokens.Load(ctx, "alice"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Errorf("Load: %v; want ErrStoreUnavailable and the context's error", err)
		}
		s.Thaw()
		mustRefresh(t, tokens, login, "2")
	})
}

// Connections that are cut while nobody uses them cost no login.
func TestConnectionsAreCut(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, r remote, _ *sql.DB, tokens *store.Shared, login tokenclient.Record) {
		for n := range 5 {
			cut(t, r, open(t, r.driver, r.dsn(s)))
			login = mustRefresh(t, tokens, login, string(rune('a'+n)))
		}
	})
}

func cut(t *testing.T, r remote, db *sql.DB) {
	t.Helper()
	db.SetMaxOpenConns(1)
	rows, err := db.Query(r.cut)
	if err != nil {
		t.Fatal(err)
	}
	var results []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		results = append(results, s)
	}
	if err := rows.Err(); err != nil || len(results) == 0 {
		t.Fatal("found no connection to cut", err)
	}
	if r.dialect == sqlstore.MariaDB {
		for _, kill := range results {
			// It may have ended by itself since it was listed.
			var gone *mysql.MySQLError
			if _, err := db.Exec(kill); err != nil && !(errors.As(err, &gone) && gone.Number == 1094) {
				t.Fatal(err)
			}
		}
	}
	_ = db.Close()
}

// A server that takes no writes, as a replica does, is an error and no answer.
func TestServerReadOnly(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, r remote, db *sql.DB, _ *store.Shared, login tokenclient.Record) {
		dsn := r.dsn(s) + "&default_transaction_read_only=on"
		if r.dialect == sqlstore.MariaDB {
			dsn = r.dsn(s) + "?tx_read_only=1"
		}
		kv := newKV(t, open(t, r.driver, dsn), r.dialect, tableName)
		tokens := newShared(t, kv, sealer(t))
		if got, err := tokens.Load(t.Context(), "alice"); err != nil || got.Token.RefreshToken != "refresh-1" {
			t.Errorf("Load: %v, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := tokens.Refresh(ctx, "alice", login, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			t.Error("the token was presented")
			return nil, tokenclient.ErrNotPresented
		})
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Errorf("Refresh: %v; want ErrStoreUnavailable", err)
		}
		ok, err := kv.CompareAndSwap(t.Context(), recordKey("bob"), nil, []byte(oldValue))
		if ok || err == nil || !strings.Contains(strings.ToLower(err.Error()), "read") || !strings.Contains(err.Error(), "write table "+tableName) {
			t.Errorf("CompareAndSwap: %t, %v; want an error that names the operation, the table and the cause", ok, err)
		}
		if r.dialect == sqlstore.MariaDB { // whose replicas say that much of themselves to any account
			execute(t, db, "SET GLOBAL read_only = ON")
			wantReplica(t, db, r.dialect)
			execute(t, db, "SET GLOBAL read_only = OFF")
			if got, err := newShared(t, newKV(t, db, r.dialect, tableName), sealer(t)).Load(t.Context(), "alice"); err != nil {
				t.Errorf("read only no longer: %+v, %v", got, err)
			}
		}
	})
}

// An account needs no more rights than the documentation says.
func TestAccountRights(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, r remote, db *sql.DB, _ *store.Shared, login tokenclient.Record) {
		statements := []string{"CREATE ROLE app LOGIN", "GRANT SELECT, INSERT, UPDATE ON tokens TO app"}
		if r.dialect == sqlstore.MariaDB {
			statements = []string{"CREATE USER app@'%'", "GRANT SELECT, INSERT, UPDATE ON test.tokens TO app@'%'"}
		}
		for _, text := range statements {
			if _, err := db.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		dsn := strings.Replace(r.dsn(s), s.User+"@", "app@", 1)
		tokens := newShared(t, newKV(t, open(t, r.driver, dsn), r.dialect, tableName), sealer(t))
		mustRefresh(t, tokens, login, "2")
		if _, _, err := tokens.Replace(t.Context(), "bob", token("1")); err != nil {
			t.Errorf("Replace: %v", err)
		}
	})
}

// A table in a schema of its own is the same, found by its full name or by the
// search path. Upper case counts.
func TestSchema(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, r remote, db *sql.DB, _ *store.Shared, _ tokenclient.Record) {
		schema, dsn := `"Apps"`, r.dsn(s)+"&search_path=%22Apps%22"
		if r.dialect == sqlstore.MariaDB {
			schema, dsn = "`Apps`", strings.Replace(r.dsn(s), "/"+s.Database, "/Apps", 1)
		}
		if _, err := db.Exec("CREATE SCHEMA " + schema); err != nil {
			t.Fatal(err)
		}
		if err := sqlstore.CreateTable(t.Context(), db, r.dialect, "Apps.Tokens"); err != nil {
			t.Fatal(err)
		}
		full := newKV(t, db, r.dialect, "Apps.Tokens")
		short := newKV(t, open(t, r.driver, dsn), r.dialect, "Tokens")
		if ok, err := full.CompareAndSwap(t.Context(), recordKey("alice"), nil, []byte(oldValue)); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if ok, err := short.CompareAndSwap(t.Context(), recordKey("alice"), []byte(oldValue), []byte("another")); err != nil || !ok {
			t.Errorf("by its short name: %t, %v", ok, err)
		}
		if got, err := full.Get(t.Context(), recordKey("alice")); err != nil || string(got) != "another" {
			t.Errorf("Get: %q, %v", got, err)
		}
		missing := newKV(t, db, r.dialect, "Apps.tokens")
		if got, err := missing.Get(t.Context(), recordKey("alice")); err == nil {
			t.Errorf("a table that is not there: %q without an error", got)
		}
	})
}

// Above "read committed" writers that meet get errors. The protocol must cope.
func TestSerializable(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, r remote, _ *sql.DB, _ *store.Shared, login tokenclient.Record) {
		dsn := r.dsn(s) + "&default_transaction_isolation=serializable"
		if r.dialect == sqlstore.MariaDB {
			dsn = r.dsn(s) + "?tx_isolation=%27SERIALIZABLE%27"
		}
		const workers, refreshes = 4, 10
		done := make(chan error, workers)
		for range workers {
			tokens := newShared(t, newKV(t, open(t, r.driver, dsn), r.dialect, tableName), sealer(t))
			go func() {
				seen, left := login, refreshes
				for tries := 0; left > 0; tries++ {
					called := false
					now, err := tokens.Refresh(t.Context(), "alice", seen, 5*time.Second,
						func(_ context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
							called = true
							return token("next"), nil
						})
					if err != nil && tries > 1000 {
						done <- err
						return
					}
					if err == nil {
						seen = now
					}
					if called {
						left--
					}
				}
				done <- nil
			}()
		}
		for range workers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		tokens := newShared(t, newKV(t, open(t, r.driver, dsn), r.dialect, tableName), sealer(t))
		got, err := tokens.Load(t.Context(), "alice")
		if err != nil || got.Number != login.Number+workers*refreshes {
			t.Errorf("number %d, %v; want %d", got.Number, err, login.Number+workers*refreshes)
		}
	})
}
