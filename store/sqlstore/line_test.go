package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// A database is one on which each statement takes so long, by the clock of the bubble.
type database struct {
	*sql.DB
	took time.Duration

	mu    sync.Mutex
	now   int // statements under way
	peak  int
	conns int // made so far
}

func newDatabase(t *testing.T, took time.Duration) *database {
	d := &database{took: took}
	d.DB = sql.OpenDB(connector{version: "3.51.3", fail: d.statement, connect: func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns++
	}})
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (d *database) statement() error {
	d.mu.Lock()
	d.now++
	d.peak = max(d.peak, d.now)
	d.mu.Unlock()
	time.Sleep(d.took)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now--
	return nil
}

// operations calls a KV as often as n says, half of them reads, all at the same time.
func operations(t *testing.T, kv store.KV, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if key := fmt.Sprint(i); i%2 == 0 {
				_, err = kv.Get(t.Context(), key)
			} else {
				_, err = kv.CompareAndSwap(t.Context(), key, nil, []byte("v"))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestMaxOperations: of a hundred operations at once the database has no more than it
// should at a time, and each connection is made once, though database/sql keeps none.
func TestMaxOperations(t *testing.T) {
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MariaDB} {
		for _, c := range []struct{ most, want int }{{0, 8}, {1, 1}, {2, 1}, {3, 2}, {5, 4}, {50, 40}, {1000, 100}} {
			synctest.Test(t, func(t *testing.T) {
				db := newDatabase(t, time.Millisecond)
				db.SetMaxIdleConns(-1)
				kv, err := sqlstore.Options{MaxOperations: c.most}.New(db.DB, d, "tokens")
				if err != nil {
					t.Fatal(err)
				}
				operations(t, kv, 100)
				if d == sqlstore.SQLite {
					c.want = min(c.want, 50) + 1 // the reads, and the writer
				}
				if db.peak != c.want {
					t.Errorf("dialect %d, MaxOperations %d: %d at a time, want %d", d, c.most, db.peak, c.want)
				}
				if db.conns > c.want {
					t.Errorf("dialect %d, MaxOperations %d: %d connections, want %d", d, c.most, db.conns, c.want)
				}
			})
		}
	}
}

// TestUrgentGoesFirst: an urgent operation passes those that wait, and is not kept out by
// those that hang.
func TestUrgentGoesFirst(t *testing.T) {
	for _, most := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			const hang = time.Second
			db := newDatabase(t, hang)
			kv, err := sqlstore.Options{MaxOperations: most}.New(db.DB, sqlstore.PostgreSQL, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { operations(t, kv, 50) })
			synctest.Wait()
			db.mu.Lock()
			db.took = 0 // of those that begin now
			db.mu.Unlock()
			if _, err := kv.CompareAndSwap(protocol.Urgent(t.Context()), "urgent", nil, []byte("v")); err != nil {
				t.Fatal(err)
			}
			want := time.Duration(0)
			if most == 1 {
				want = hang // all there is hangs; the others of the 50 would take no time
			}
			if took := time.Since(began); took != want {
				t.Errorf("MaxOperations %d: an urgent operation took %v beside others that hang for %v", most, took, hang)
			}
			wg.Wait()
		})
	}
}

// TestUrgentOrder: with one turn, urgent operations pass the others in line, and keep the
// order in which they came.
func TestUrgentOrder(t *testing.T) {
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		synctest.Test(t, func(t *testing.T) {
			w := &slowWrites{next: make(chan struct{})}
			db := sql.OpenDB(connector{version: "3.51.3", exec: w.exec})
			defer db.Close()
			kv, err := sqlstore.Options{MaxOperations: 1}.New(db, d, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for _, key := range strings.Fields("a b c D E d F") {
				wg.Go(func() {
					ctx := t.Context()
					if strings.ToUpper(key) == key {
						ctx = protocol.Urgent(ctx)
					}
					if swapped, err := kv.CompareAndSwap(ctx, key, nil, []byte("v")); !swapped || err != nil {
						t.Errorf("%s: %t, %v", key, swapped, err)
					}
				})
				synctest.Wait()
			}
			for _, want := range strings.Fields("a D E F b c d") {
				if got := w.now(); got != want {
					t.Fatalf("dialect %d: writing %q, want %q", d, got, want)
				}
				w.next <- struct{}{}
			}
			wg.Wait()
		})
	}
}

// TestLineLeft: who cannot wait any longer says where it was, and takes nobody's turn.
func TestLineLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(t, time.Second)
		kv := newKV(t, db.DB, sqlstore.MariaDB, "tokens")
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { operations(t, kv, 8) })
		synctest.Wait()
		for i := range 100 {
			wg.Go(func() {
				// Half of them leave at the very moment at which turns come.
				patience := time.Duration(i) * 50 * time.Millisecond
				if i%2 == 0 {
					patience = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := kv.Get(ctx, "k")
				if err == nil {
					return
				}
				if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "sqlstore: read table tokens: ") {
					t.Errorf("error %v", err)
				}
				if time.Since(began) < time.Second && !strings.Contains(err.Error(), "in line behind other operations") {
					t.Errorf("error %v does not say that it was in line", err)
				}
			})
		}
		wg.Wait()
		db.peak = 0
		operations(t, kv, 20) // all turns are there
		if db.peak != 8 || db.now != 0 {
			t.Errorf("%d at a time afterwards, and %d left; want 8 and none", db.peak, db.now)
		}
	})
}

// TestConcurrentLine: turns that come at the very moment at which their waiters leave are not
// lost.
func TestConcurrentLine(t *testing.T) {
	db := newDatabase(t, 0)
	kv, err := sqlstore.Options{MaxOperations: 2}.New(db.DB, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%100)*time.Microsecond)
				if i%2 == 0 {
					ctx = protocol.Urgent(ctx)
				}
				_, _ = kv.Get(ctx, "k")
				cancel()
			}
		})
	}
	wg.Wait()
	operations(t, kv, 10) // there is a turn for these
}

// TestBrokenConnections: a connection that the server has closed is not handed on, and costs
// nobody an error; one on which something failed is not handed on either.
func TestBrokenConnections(t *testing.T) {
	for _, cause := range []error{driver.ErrBadConn, errors.New("the driver's own words")} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			statements, conns, failed := 0, 0, 0
			db := sql.OpenDB(connector{
				connect: func() {
					mu.Lock()
					defer mu.Unlock()
					conns++
				},
				fail: func() error {
					time.Sleep(time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					if statements++; statements%5 == 0 {
						return cause
					}
					return nil
				},
			})
			defer db.Close()
			kv, err := sqlstore.Options{MaxOperations: 1}.New(db, sqlstore.PostgreSQL, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if _, err := kv.Get(t.Context(), "k"); err != nil {
						mu.Lock()
						defer mu.Unlock()
						failed++
						if !errors.Is(err, cause) {
							t.Errorf("error %v, want %v", err, cause)
						}
					}
				})
			}
			wg.Wait()
			wantFailed, wantConns := 4, 1 // database/sql knows that the connection still works
			if errors.Is(cause, driver.ErrBadConn) {
				wantFailed, wantConns = 0, 5
			}
			if failed != wantFailed || conns != wantConns || db.Stats().InUse != 0 {
				t.Errorf("%v: %d failed and %d connections, want %d and %d; %d in use", cause, failed, conns, wantFailed, wantConns, db.Stats().InUse)
			}
		})
	}
}

// TestPanickingDriver: a driver that panics does not keep its turn. (Its connection is lost:
// database/sql leaves that locked.)
func TestPanickingDriver(t *testing.T) {
	db := sql.OpenDB(connector{fail: func() error { panic("a bug in the driver") }})
	defer db.Close()
	kv, err := sqlstore.Options{MaxOperations: 1}.New(db, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = kv.Get(t.Context(), "k")
		}()
	}
}

// TestConnectionsGoBack: database/sql gets connections back in between, for it knows how old
// they may become.
func TestConnectionsGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(t, time.Second)
		db.SetConnMaxLifetime(time.Second)
		kv, err := sqlstore.Options{MaxOperations: 1}.New(db.DB, sqlstore.PostgreSQL, "tokens")
		if err != nil {
			t.Fatal(err)
		}
		operations(t, kv, 1000)
		if db.conns < 10 {
			t.Errorf("%d connections for 1000 seconds, though each may have one", db.conns)
		}
	})
}

// TestNothingIsKept: when the line is empty, so are the connections of the KV.
func TestNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(t, time.Millisecond)
		kv := newKV(t, db.DB, sqlstore.PostgreSQL, "tokens")
		operations(t, kv, 100)
		if s := db.Stats(); s.InUse != 0 || s.Idle != 2 {
			t.Errorf("%d connections in use and %d idle, want none and what database/sql keeps, 2", s.InUse, s.Idle)
		}
	})
}
