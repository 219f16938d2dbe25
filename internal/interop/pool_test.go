package interop_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A Pool of many users does not need a connection for each: with a *sql.DB as sql.Open
// returns it, which makes as many as are asked for, all are served by a server that takes
// no more than twenty.
func TestPoolOfManyUsers(t *testing.T) {
	const users, most = 100, 10
	for _, r := range remotes {
		t.Run(r.name, func(t *testing.T) {
			limit := map[string]string{"PostgreSQL": "max_connections=20", "MariaDB": "--max-connections=20"}[r.name]
			db := open(t, r.driver, r.dsn(r.start(t, limit)))
			create(t, db, r.dialect, tableName)
			tokens := newShared(t, newKV(t, db, r.dialect, tableName), sealer(t))
			srv := tokentest.NewServer(t, nil)
			config := tokenclient.Config{Refresher: srv.JSONRefresher(), Origins: []string{srv.URL}}
			pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
				Store:  tokens,
				Config: func(context.Context, string) (tokenclient.Config, error) { return config, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			connections := 0
			var wg sync.WaitGroup
			for i := range users {
				wg.Go(func() {
					user := fmt.Sprint("user-", i)
					_, _, err := tokens.Replace(t.Context(), user, srv.Issue(user))
					if err == nil {
						srv.RevokeAccess(user)
						err = serve(t.Context(), pool, srv.URL, user)
					}
					if err != nil {
						t.Errorf("%s: %v", user, err)
					}
					mu.Lock()
					defer mu.Unlock()
					connections = max(connections, db.Stats().OpenConnections)
				})
			}
			wg.Wait()
			if err := pool.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if c := srv.Counters(); c.Refreshes != users || c.Reuses != 0 || connections > most {
				t.Errorf("%d refreshes, %d reuses and %d connections for %d users; want at most %d connections",
					c.Refreshes, c.Reuses, connections, users, most)
			}
		})
	}
}

// serve sends a request of the user's.
func serve(ctx context.Context, pool *tokenclient.Pool, url, user string) error {
	req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, user), http.MethodGet, url+"/api/", nil)
	if err != nil {
		return err
	}
	resp, err := pool.Client().Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// A new pair is saved while claims hang, as many as the database may have: another client
// has locked their rows.
func TestSaveBesideClaimsThatHang(t *testing.T) {
	const others = 20
	name := func(i int) string { return fmt.Sprint("other-", i) }
	forRemotes(t, func(t *testing.T, _ *servers.Server, r remote, db *sql.DB, tokens *store.Shared, login tokenclient.Record) {
		var logins []tokenclient.Record
		for i := range others {
			rec, _, err := tokens.Replace(t.Context(), name(i), token("1"))
			if err != nil {
				t.Fatal(err)
			}
			logins = append(logins, rec)
		}
		hang, leave := context.WithCancel(t.Context())
		tokens = newShared(t, hangingKV{newKV(t, db, r.dialect, tableName), hang, recordKey("alice")}, sealer(t))
		var wg sync.WaitGroup
		defer wg.Wait()
		defer leave()
		rec, err := tokens.Refresh(t.Context(), "alice", login, time.Minute,
			func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				lock(t, db, others, name)
				for i, rec := range logins {
					wg.Go(func() {
						_, err := tokens.Refresh(hang, name(i), rec, time.Minute,
							func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
								return nil, tokenclient.ErrNotPresented
							})
						if err == nil {
							t.Error("a claim of a row that is locked: no error")
						}
					})
				}
				waitFor(t, "as many claims as may be hang", func() bool { return db.Stats().InUse == 1+8 })
				return token("2"), nil
			})
		if err != nil || rec.Number != login.Number+1 {
			t.Errorf("the save: number %d, %v", rec.Number, err)
		}
	})
}

// A hangingKV gives up no write but those of one record, until ctx ends.
type hangingKV struct {
	store.KV
	ctx context.Context
	key string
}

func (kv hangingKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if key != kv.key {
		ctx = kv.ctx
	}
	return kv.KV.CompareAndSwap(ctx, key, old, new)
}

// lock locks the rows of so many keys in a transaction that ends with the test.
func lock(t *testing.T, db *sql.DB, n int, name func(int) string) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	for i := range n {
		var k string
		query := fmt.Sprintf("SELECT k FROM %s WHERE k = '%s' FOR UPDATE", tableName, recordKey(name(i)))
		if err := tx.QueryRow(query).Scan(&k); err != nil {
			t.Error(err)
		}
	}
}

// waitFor waits for what happens in other processes.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Error("not within a minute: " + what)
			return
		}
	}
}
