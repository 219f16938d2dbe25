package interop_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(text, err)
		}
	}
}

// wantReplica loads a record that is in a replica, and may be old.
func wantReplica(t *testing.T, db *sql.DB, d sqlstore.Dialect) {
	t.Helper()
	kv := newKV(t, db, d, tableName)
	if got, err := newShared(t, kv, sealer(t)).Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrStoreUnavailable) || !strings.Contains(err.Error(), "is a replica") {
		t.Errorf("Load from a replica: number %d, %v", got.Number, err)
	}
	if got, err := kv.Get(t.Context(), recordKey("nobody")); err == nil {
		t.Errorf("Get of what a replica does not have: %q without an error", got)
	}
}

// TestReplica: a replica has an older record, and so an older refresh token, and would answer as
// if nothing was wrong. Once it has become the primary the same *sql.DB is good.
func TestReplica(t *testing.T) {
	primary := servers.PostgreSQL(t)
	db := open(t, "pgx", postgreSQLName(primary))
	create(t, db, sqlstore.PostgreSQL, tableName)
	tokens := newShared(t, newKV(t, db, sqlstore.PostgreSQL, tableName), sealer(t))
	login, _, err := tokens.Replace(t.Context(), "alice", token("1"))
	if err != nil {
		t.Fatal(err)
	}
	behind := open(t, "pgx", postgreSQLName(servers.PostgreSQLStandby(t, primary)))
	execute(t, behind, "SELECT pg_wal_replay_pause()")
	for state, end := "", time.Now().Add(time.Minute); state != "paused"; time.Sleep(5 * time.Millisecond) {
		if err := behind.QueryRowContext(t.Context(), "SELECT pg_get_wal_replay_pause_state()").Scan(&state); err != nil || time.Now().After(end) {
			t.Fatal("replay goes on:", state, err)
		}
	}
	mustRefresh(t, tokens, login, "2")
	var n int
	if err := behind.QueryRowContext(t.Context(), "SELECT count(*) FROM tokens").Scan(&n); err != nil || n != 1 {
		t.Fatalf("the replica has %d records, and would not answer: %v", n, err)
	}
	wantReplica(t, behind, sqlstore.PostgreSQL)
	kv := newKV(t, behind, sqlstore.PostgreSQL, tableName)
	if _, err := kv.CompareAndSwap(t.Context(), recordKey("bob"), nil, []byte(oldValue)); err == nil || !strings.Contains(err.Error(), "it is a replica") {
		t.Errorf("CompareAndSwap: %v", err)
	}
	primary.Stop()
	execute(t, behind, "SELECT pg_promote()")
	if got, err := newShared(t, kv, sealer(t)).Load(t.Context(), "alice"); err != nil || got.Era != login.Era {
		t.Errorf("Load from what is the primary now: %+v, %v", got, err)
	}
}
