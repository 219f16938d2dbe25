package sqlstore_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// What nodes of a cluster do is tested against one in internal/interop.

// TestServerWithoutClusters: a MariaDB that was built without them, and a MySQL, refuse the
// statements that wait for other nodes. It is asked for that once.
func TestServerWithoutClusters(t *testing.T) {
	for name, refusal := range map[string]string{
		"MariaDB": "Error 1193 (HY000): Unknown system variable 'wsrep_sync_wait'",
		"MySQL":   "Error 1064 (42000): You have an error in your SQL syntax",
	} {
		t.Run(name, func(t *testing.T) {
			var ran []string
			db := sql.OpenDB(connector{ran: &ran, prepare: func() error {
				if strings.Contains(ran[len(ran)-1], "wsrep") {
					return errors.New(refusal)
				}
				return nil
			}})
			defer db.Close()
			kv, err := sqlstore.New(db, sqlstore.MariaDB, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := kv.Get(t.Context(), "k"); err != nil {
					t.Error(err)
				}
				if ok, err := kv.CompareAndSwap(t.Context(), "k", nil, []byte("v")); err != nil || !ok {
					t.Error(ok, err)
				}
				if ok, err := kv.CompareAndSwap(t.Context(), "k", []byte("v"), []byte("w")); err != nil || !ok {
					t.Error(ok, err)
				}
			}
			if n := strings.Count(strings.Join(ran, "\n"), "wsrep"); len(ran) != 7 || n != 1 {
				t.Errorf("%d statements, %d of which wait; want 7 and 1:\n%s", len(ran), n, strings.Join(ran, "\n"))
			}
		})
	}
	t.Run("found out at once", func(t *testing.T) {
		together := make(chan struct{})
		var asked atomic.Int32
		db := sql.OpenDB(connector{fail: func() error {
			switch n := asked.Add(1); {
			case n == 2:
				close(together)
			case n > 2:
				return nil
			}
			<-together
			return errors.New("Error 1193 (HY000): Unknown system variable 'wsrep_sync_wait'")
		}})
		defer db.Close()
		kv, err := sqlstore.New(db, sqlstore.MariaDB, "tokens")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := kv.Get(t.Context(), "k"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("other mistakes", func(t *testing.T) { // such as a statement that no server takes
		var ran []string
		db := sql.OpenDB(connector{ran: &ran, prepare: func() error { return errors.New("Error 1064 (42000): You have an error") }})
		defer db.Close()
		kv, err := sqlstore.New(db, sqlstore.MariaDB, "tokens")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Get(t.Context(), "k"); err == nil || len(ran) != 2 {
			t.Errorf("%d statements, %v", len(ran), err)
		}
	})
}

// TestConflictsOfNodes: a write that was undone because another was first is run again, a few
// times, and so is none whose answer leaves a doubt.
func TestConflictsOfNodes(t *testing.T) {
	const conflict = "Error 1213 (40001): Deadlock found when trying to get lock; try restarting transaction"
	for _, test := range []struct {
		name, refusal string
		times         int // that it is refused
		runs          int // of the statement
	}{
		{"no conflict", conflict, 0, 1},
		{"two conflicts", conflict, 2, 3},
		{"no end of conflicts", conflict, 1000, 20},
		{"a wait that was too long", "Error 1205 (HY000): Lock wait timeout exceeded", 1, 1},
		{"a node that leaves while it commits", "Error 1180 (HY000): Got error 6 \"No such device or address\" during COMMIT", 1, 1},
		{"a reply that is lost", "invalid connection", 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			runs := 0
			db := sql.OpenDB(connector{fail: func() error {
				if runs++; runs <= test.times {
					return errors.New(test.refusal)
				}
				return nil
			}, exec: func(driver.Value) {}})
			defer db.Close()
			kv, err := sqlstore.New(db, sqlstore.MariaDB, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			ok, err := kv.CompareAndSwap(t.Context(), "k", []byte("v"), []byte("w"))
			if want := test.runs > test.times; ok != want || (err == nil) != want || runs != test.runs {
				t.Errorf("swapped %t, %v, in %d runs; want %d", ok, err, runs, test.runs)
			}
		})
	}
}
