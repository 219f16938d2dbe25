package fleet_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// BenchmarkPool measures how long 100 users of a Pool wait who all send a request at the
// same moment, when their tokens are in the engine and none is good any more: each is
// loaded, rejected, exchanged and saved. The connections are as the driver's defaults have
// them, or ten that are kept.
func BenchmarkPool(b *testing.B) {
	b.Run("PostgreSQL", func(b *testing.B) {
		r := postgreSQL(b, "fsync=on", "full_page_writes=on")
		benchmarkSQLPool(b, "pgx", sqlstore.PostgreSQL, r.address)
	})
	b.Run("MariaDB", func(b *testing.B) {
		r := mariaDB(b, "--innodb-flush-log-at-trx-commit=1")
		benchmarkSQLPool(b, "mysql", sqlstore.MariaDB, r.address)
	})
	b.Run("Redis", func(b *testing.B) {
		s := servers.Redis(b)
		for _, most := range []int{0, 10} {
			b.Run(connectionsName(most), func(b *testing.B) {
				c := redis.NewClient(&redis.Options{Addr: s.Address, ContextTimeoutEnabled: true, PoolSize: most})
				b.Cleanup(func() { _ = c.Close() })
				benchmarkPool(b, redisstore.New(c, "pool:"), func() int { return int(c.PoolStats().TotalConns) })
			})
		}
	})
}

func benchmarkSQLPool(b *testing.B, driver string, d sqlstore.Dialect, dsn string) {
	for _, most := range []int{0, 10} {
		b.Run(connectionsName(most), func(b *testing.B) {
			db, err := sql.Open(driver, dsn)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close() })
			if most > 0 {
				db.SetMaxOpenConns(most)
				db.SetMaxIdleConns(most)
			}
			kv, err := sqlstore.New(db, d, "tokens")
			if err != nil {
				b.Fatal(err)
			}
			benchmarkPool(b, kv, func() int { return db.Stats().OpenConnections })
		})
	}
}

func connectionsName(most int) string {
	if most == 0 {
		return "default"
	}
	return fmt.Sprint(most, " connections")
}

func benchmarkPool(b *testing.B, kv store.KV, connections func() int) {
	const users = 100
	srv := tokentest.NewServer(b, nil)
	tokens, err := shared(kv, 0)
	if err != nil {
		b.Fatal(err)
	}
	user := func(i int) string { return fmt.Sprint("user-", i) }
	for i := range users {
		if _, _, err := tokens.Replace(b.Context(), user(i), srv.Issue(user(i))); err != nil {
			b.Fatal(err)
		}
	}
	base := &http.Transport{MaxIdleConnsPerHost: users}
	defer base.CloseIdleConnections()
	config := tokenclient.Config{Refresher: srv.JSONRefresher(), Origins: []string{srv.URL}}
	var failed, most atomic.Int64
	for b.Loop() {
		b.StopTimer()
		for i := range users {
			srv.RevokeAccess(user(i))
		}
		pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store:  tokens,
			Config: func(context.Context, string) (tokenclient.Config, error) { return config, nil },
		})
		if err != nil {
			b.Fatal(err)
		}
		client := &http.Client{Transport: pool.Transport(base)}
		b.StartTimer()
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				if !served(b, client, srv.URL+"/api/", user(i)) {
					failed.Add(1)
				}
				most.Store(max(most.Load(), int64(connections())))
			})
		}
		wg.Wait()
		b.StopTimer()
		if err := pool.Close(b.Context()); err != nil {
			b.Error(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(failed.Load())/float64(b.N), "failed/op")
	b.ReportMetric(float64(most.Load()), "connections")
}

// served reports whether the API answers the user.
func served(b *testing.B, client *http.Client, url, user string) bool {
	req, err := http.NewRequestWithContext(tokenclient.WithKey(b.Context(), user), http.MethodGet, url, nil)
	if err != nil {
		b.Error(err)
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		b.Log(err)
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
