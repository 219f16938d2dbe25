package interop_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// TestNotifyingSwaps: a swap that notifies is the same swap, however pgx asks for it: by named
// statements, or without, as behind a pooler that hands out connections for one transaction.
func TestNotifyingSwaps(t *testing.T) {
	dsn := postgreSQL("")(t)
	create(t, open(t, "pgx", dsn), sqlstore.PostgreSQL, tableName)
	for i, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		e := engine{mode, sqlstore.PostgreSQL, "pgx", nil, listens}
		kv := e.newKV(t, dsn+"&default_query_exec_mode="+mode, tableName)
		key := strings.Repeat(string(rune('a'+i)), 64)
		for n, s := range []struct {
			old, new string
			want     bool
		}{
			{"one", "two", false}, // absent
			{"", "one\x00\xff'\\", true},
			{"", "two", false},
			{"one", "two", false},
			{"one\x00\xff'\\", "two", true},
			{"one\x00\xff'\\", "three", false},
		} {
			var old []byte
			if s.old != "" {
				old = []byte(s.old)
			}
			if swapped, err := kv.CompareAndSwap(t.Context(), key, old, []byte(s.new)); swapped != s.want || err != nil {
				t.Errorf("%s, swap %d: %v, %v, want %v", mode, n, swapped, err, s.want)
			}
		}
		if got, err := kv.Get(t.Context(), key); string(got) != "two" || err != nil {
			t.Errorf("%s: %q, %v", mode, got, err)
		}
	}
}

// TestNotifyBehindPgBouncer: who swaps behind a pooler that hands out connections for one transaction
// wakes who listens at the server itself.
func TestNotifyBehindPgBouncer(t *testing.T) {
	server := servers.PostgreSQL(t)
	direct := postgreSQLName(server)
	behind := postgreSQLName(servers.PgBouncer(t, server, 2)) + "&default_query_exec_mode=exec"
	create(t, open(t, "pgx", direct), sqlstore.PostgreSQL, tableName)
	e := engine{"behind PgBouncer", sqlstore.PostgreSQL, "pgx", nil, func(t testing.TB, _ string) sqlstore.Options { return listens(t, direct) }}
	kv := e.newKV(t, behind, tableName)
	told := make(chan struct{}, 1)
	_, stop := kv.(store.Notifier).Watch("k", func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	defer stop()
	<-told // it listens
	var old []byte
	for i := range 20 { // over both connections
		value := fmt.Append(nil, i)
		if swapped, err := kv.CompareAndSwap(t.Context(), "k", old, value); err != nil || !swapped {
			t.Fatal(swapped, err)
		}
		<-told
		old = value
	}
}

// TestListenEndsWithTheProgram: nothing stays connected that would keep others from dropping the
// database, though it was waited for a moment ago.
func TestListenEndsWithTheProgram(t *testing.T) {
	dsn := postgreSQL("")(t)
	db := open(t, "pgx", dsn)
	program, end := context.WithCancel(t.Context())
	defer end()
	pool, err := pgxpool.New(program, dsn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := sqlstore.Options{Listen: listenOn(program, pool)}.New(db, sqlstore.PostgreSQL, tableName)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{}, 1)
	_, stop := kv.(store.Notifier).Watch("k", func() { told <- struct{}{} })
	<-told
	stop()
	listening := func() (n int) {
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := listening(); n != 1 {
		t.Errorf("%d connections listen, want 1", n)
	}
	end()
	pool.Close()
	for began := time.Now(); listening() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("a connection still listens")
		}
	}
}
