package fleet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// BenchmarkStore measures what one process waits for a store, with a token as long as
// that of servers whose access tokens are JWTs. A Refresh writes twice: that the token
// is about to be presented, and what came of it. Servers write to disk before they
// answer, as they should where it counts.
func BenchmarkStore(b *testing.B) {
	for _, name := range append([]string{"Memory"}, engineNames...) {
		b.Run(name, func(b *testing.B) {
			ctx := b.Context()
			s := openBenchmark(b, name)
			token := &tokenclient.Token{
				AccessToken:  strings.Repeat("a", 850),
				RefreshToken: strings.Repeat("r", 600),
				Expiry:       time.Now().Add(time.Hour),
			}
			seen, _, err := s.Replace(ctx, account, token)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("Load", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.Load(ctx, account); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("Refresh", func(b *testing.B) {
				for b.Loop() {
					now, err := s.Refresh(ctx, account, seen, time.Minute,
						func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return token, nil })
					if err != nil || now.Number != seen.Number+1 {
						b.Fatalf("number %d after %d, %v", now.Number, seen.Number, err)
					}
					seen = now
				}
			})
		})
	}
}

func openBenchmark(b *testing.B, name string) tokenclient.Store {
	b.Helper()
	var r *running
	switch name {
	case "Memory":
		return new(store.Memory)
	case "PostgreSQL":
		r = postgreSQL(b, "fsync=on", "full_page_writes=on")
	case "MariaDB":
		r = mariaDB(b, "--innodb-flush-log-at-trx-commit=1")
	default:
		r = engines[name].start(b)
	}
	s, err := engines[name].open(r.address, 0)
	if err != nil {
		b.Fatal(err)
	}
	return s
}
