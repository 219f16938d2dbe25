package interop_test

import (
	"strings"
	"testing"

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
