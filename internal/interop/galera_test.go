package interop_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
)

// TestGalera uses all nodes of a cluster at once, as programs do behind a proxy that takes turns.
func TestGalera(t *testing.T) {
	var cluster []*servers.Server
	var tables, turn atomic.Int32
	storetest.RunKV(t,
		func(t testing.TB, address string) store.KV {
			names, table, _ := strings.Cut(address, "\n")
			nodes := strings.Fields(names)
			return newKV(t, open(t, "mysql", nodes[(os.Getpid()+int(turn.Add(1)))%len(nodes)]), sqlstore.MariaDB, table)
		},
		func(row *testing.T) string {
			if cluster == nil {
				cluster = servers.Galera(t, 2)
			}
			var names []string
			table := fmt.Sprint("tokens", tables.Add(1))
			for _, s := range cluster { // each, so that each has it when the row begins
				names = append(names, mariaDBName(s))
				create(row, open(row, "mysql", mariaDBName(s)), sqlstore.MariaDB, table)
			}
			return strings.Join(names, " ") + "\n" + table
		})

	var dbs []*sql.DB
	var kvs []store.KV
	for _, s := range cluster {
		dbs = append(dbs, open(t, "mysql", mariaDBName(s)))
	}
	for _, db := range dbs {
		create(t, db, sqlstore.MariaDB, tableName)
		kvs = append(kvs, newKV(t, db, sqlstore.MariaDB, tableName))
	}
	t.Run("swaps at once", func(t *testing.T) { swapAtOnce(t, kvs) })
	t.Run("read after write", func(t *testing.T) { readAfterWrite(t, kvs) })
	t.Run("a node that is behind", func(t *testing.T) { behind(t, kvs, dbs[1]) })
	if !testing.Short() { // it waits for most of its time, until nodes take each other for lost
		t.Run("a node alone", func(t *testing.T) { alone(t, kvs, dbs[0], cluster[1]) })
	}
}

// swapAtOnce has all nodes swap the same record at the same moment. The nodes find out when they
// commit that there was another one; all but one of them have not swapped.
func swapAtOnce(t *testing.T, kvs []store.KV) {
	key, old := recordKey("at once"), []byte(nil)
	for round := range inShort(300) {
		var wg sync.WaitGroup
		swapped, errs := make([]bool, len(kvs)), make([]error, len(kvs))
		value := func(i int) []byte { return fmt.Append(nil, "round ", round, " node ", i) }
		for i, kv := range kvs {
			wg.Go(func() { swapped[i], errs[i] = kv.CompareAndSwap(t.Context(), key, old, value(i)) })
		}
		wg.Wait()
		winner := slices.Index(swapped, true)
		if err := errors.Join(errs...); err != nil || winner < 0 || slices.Contains(swapped[winner+1:], true) {
			t.Fatalf("round %d: the nodes swapped: %v, %v", round, swapped, err)
		}
		old = value(winner)
		for i, kv := range kvs {
			if got, err := kv.Get(t.Context(), key); err != nil || !bytes.Equal(got, old) {
				t.Fatalf("round %d: node %d has %q, not %q: %v", round, i, got, old, err)
			}
		}
	}
}

// readAfterWrite reads at one node what another has just said it stored, and swaps it.
func readAfterWrite(t *testing.T, kvs []store.KV) {
	stale, refused := 0, 0
	key, old := recordKey("read"), []byte(nil)
	rounds := inShort(300)
	for round := range rounds {
		value := fmt.Append(nil, "round ", round)
		here, there := kvs[round%len(kvs)], kvs[(round+1)%len(kvs)]
		if ok, err := here.CompareAndSwap(t.Context(), key, old, value); err != nil || !ok {
			refused++
		}
		if got, err := there.Get(t.Context(), key); err != nil || !bytes.Equal(got, value) {
			stale++
		}
		old = value
	}
	if stale+refused > 0 {
		t.Errorf("%d rounds: %d reads were old, %d swaps of what was there were refused", rounds, stale, refused)
	}
}

// behind has a node that has not got yet what the other one stored: it is an error, or takes until
// it has it, and the older record is never read. It would be an older refresh token.
func behind(t *testing.T, kvs []store.KV, late *sql.DB) {
	key, before, after := recordKey("behind"), []byte("before"), []byte("after")
	if ok, err := kvs[1].CompareAndSwap(t.Context(), key, nil, before); err != nil || !ok {
		t.Fatal(ok, err)
	}
	conn, err := late.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// It gets nothing more from the others until it is let go.
	if _, err := conn.ExecContext(t.Context(), "FLUSH TABLES WITH READ LOCK"); err != nil {
		t.Fatal(err)
	}
	if ok, err := kvs[0].CompareAndSwap(t.Context(), key, before, after); err != nil || !ok {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got, err := kvs[1].Get(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get of a node that is behind: %q, %v; want an error", got, err)
	}
	if _, err := conn.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	if got, err := kvs[1].Get(t.Context(), key); err != nil || !bytes.Equal(got, after) {
		t.Errorf("Get of the node that was behind: %q, %v; want %q", got, err, after)
	}
}

// alone has the other node killed. What is left of a cluster of two is no majority, and may be
// the half that is not the cluster any more: it answers with errors until somebody says that it is,
// and not as if there was no record.
func alone(t *testing.T, kvs []store.KV, left *sql.DB, other *servers.Server) {
	tokens := newShared(t, kvs[0], sealer(t))
	login, _, err := tokens.Replace(t.Context(), "alice", token("1"))
	if err != nil {
		t.Fatal(err)
	}
	other.Stop()
	get := func(key string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return kvs[0].Get(ctx, key)
	}
	waitFor(t, "the node knows that it is alone", func() bool {
		got, err := get(recordKey("alice"))
		if err == nil && got == nil {
			t.Error("Get of a node alone: there is no record")
		}
		return t.Failed() || err != nil && strings.Contains(err.Error(), "cluster")
	})
	if got, err := get(recordKey("nobody")); err == nil {
		t.Errorf("Get of a node alone: %q, and no error", got)
	}
	wantUnavailable(t, tokens, login, 500*time.Millisecond)
	if ok, err := kvs[0].CompareAndSwap(t.Context(), recordKey("nobody"), nil, []byte("x")); ok || err == nil {
		t.Errorf("CompareAndSwap of a node alone: %t, %v", ok, err)
	}

	execute(t, left, "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
	login = mustRefresh(t, tokens, login, "2")
	other.Start()
	if got, err := newShared(t, kvs[1], sealer(t)).Load(t.Context(), "alice"); err != nil || got.Number != login.Number {
		t.Errorf("Load from the node that is back: number %d, %v; want %d", got.Number, err, login.Number)
	}
}

func inShort(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}
