package interop_test

import (
	"database/sql"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestMessages: what somebody reads whose database is not as it has to be. It says whose token
// it is and what is the matter, and names neither the account nor the host.
func TestMessages(t *testing.T) {
	forRemotes(t, func(t *testing.T, s *servers.Server, r remote, db *sql.DB, _ *store.Shared, _ tokenclient.Record) {
		elsewhere, _, err := net.SplitHostPort(s.Address)
		if err != nil {
			t.Fatal(err)
		}
		check := func(name string, db *sql.DB, table, want string) {
			t.Helper()
			tokens := newShared(t, newKV(t, db, r.dialect, table), sealer(t))
			_, load := tokens.Load(t.Context(), "alice")
			_, _, login := tokens.Replace(t.Context(), "alice", token("1"))
			for op, err := range map[string]error{"load": load, "login": login} {
				if !errors.Is(err, tokenclient.ErrStoreUnavailable) {
					t.Errorf("%s: %s: %v", name, op, err)
					continue
				}
				for _, part := range []string{`key "alice"`, "sqlstore: ", " table " + table + ": ", want} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s: %s: %q does not say %q", name, op, err, part)
					}
				}
				for _, part := range []string{"locked or unavailable", "stranger", "database=", s.Address, elsewhere, s.User + "@", "'" + s.User} {
					if strings.Contains(err.Error(), part) {
						t.Errorf("%s: %s: %q says %q", name, op, err, part)
					}
				}
			}
		}
		other := func(from, to string) *sql.DB {
			dsn := r.dsn(s)
			if !strings.Contains(dsn, from) {
				t.Fatalf("no %q in %s", from, dsn)
			}
			at := strings.LastIndex(dsn, from)
			return open(t, r.driver, dsn[:at]+to+dsn[at+len(from):])
		}
		check("no table", db, "absent", "there is no such table: CreateTable makes it (")
		check("wrong user", other(s.User+"@", "stranger:stranger@"), tableName, "the database refused the login")
		check("no database", other("/"+s.Database, "/stranger"), tableName, "there is no such database")
		closed := open(t, r.driver, r.dsn(s))
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		check("closed", closed, tableName, "the *sql.DB is closed")
		s.Stop()
		check("stopped", open(t, r.driver, r.dsn(s)), tableName, "the database cannot be reached: connection refused")
	})
	db := open(t, "sqlite", "file:"+t.TempDir()+"/stranger/tokens.db")
	if _, err := newShared(t, newKV(t, db, sqlstore.SQLite, tableName), sealer(t)).Load(t.Context(), "alice"); err == nil ||
		!strings.Contains(err.Error(), `key "alice"`) || strings.Contains(err.Error(), "stranger") || !strings.Contains(err.Error(), "unable to open database file") {
		t.Errorf("SQLite without a folder: %v", err)
	}
}
