package interop_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// purgeLine is what the package documentation of sqlstore says to run.
func purgeLine(t *testing.T, d sqlstore.Dialect) string {
	t.Helper()
	doc, err := os.ReadFile("../../store/sqlstore/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	name := map[sqlstore.Dialect]string{sqlstore.SQLite: "SQLite", sqlstore.PostgreSQL: "PostgreSQL", sqlstore.MariaDB: "MariaDB"}[d]
	_, line, ok := strings.Cut(string(doc), "//\t"+name+":\n//\tDELETE ")
	if !ok {
		t.Fatalf("found no line for %s", name)
	}
	line, _, _ = strings.Cut(line, "\n")
	return "DELETE " + line
}

func TestPurge(t *testing.T) {
	// Times of 23 and 25 hours ago, by the clock of the database.
	past := map[sqlstore.Dialect][2]string{
		sqlstore.SQLite:     {"unixepoch() - 23*3600", "unixepoch() - 25*3600"},
		sqlstore.PostgreSQL: {"now() - interval '23 hours'", "now() - interval '25 hours'"},
		sqlstore.MariaDB:    {"UTC_TIMESTAMP(6) - INTERVAL 23 HOUR", "UTC_TIMESTAMP(6) - INTERVAL 25 HOUR"},
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.place(t)
			db := open(t, e.driver, dsn)
			create(t, db, e.dialect, tableName)
			kv := newKV(t, db, e.dialect, tableName)
			tokens := newShared(t, kv, sealer(t))
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			login := func(key string) tokenclient.Record {
				t.Helper()
				r, _, err := tokens.Replace(t.Context(), key, token("1"))
				must(err)
				return r
			}
			logout := func(key string) {
				t.Helper()
				login(key)
				_, _, err := tokens.Replace(t.Context(), key, nil)
				must(err)
			}
			login("active, old")
			login("active, new")
			logout("logged out, old")
			logout("logged out, 23 hours")
			logout("logged out, new")
			_, err := tokens.Refresh(t.Context(), "refused, old", login("refused, old"), time.Second,
				func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					return nil, tokenclient.ErrRefused
				})
			if !errors.Is(err, tokenclient.ErrNoToken) && !errors.Is(err, tokenclient.ErrRefused) {
				t.Fatal(err)
			}
			// What a later version may write: its state may be elsewhere.
			logout("newer format, old")
			raw, err := kv.Get(t.Context(), recordKey("newer format, old"))
			must(err)
			newer := append([]byte{2}, raw[1:]...)
			if ok, err := kv.CompareAndSwap(t.Context(), recordKey("newer format, old"), raw, newer); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if ok, err := kv.CompareAndSwap(t.Context(), recordKey("short, old"), nil, []byte{1}); err != nil || !ok {
				t.Fatal(ok, err)
			}

			names := []string{"active, old", "active, new", "logged out, old", "logged out, 23 hours", "logged out, new", "refused, old", "newer format, old", "short, old"}
			age := func(name string, to string) {
				t.Helper()
				result, err := db.ExecContext(t.Context(), "UPDATE tokens SET updated_at = "+to+" WHERE k = '"+recordKey(name)+"'")
				must(err)
				if n, err := result.RowsAffected(); n != 1 || err != nil {
					t.Fatalf("%s: %d rows, %v", name, n, err)
				}
			}
			for _, name := range names {
				switch {
				case strings.HasSuffix(name, "old"):
					age(name, past[e.dialect][1])
				case strings.HasSuffix(name, "23 hours"):
					age(name, past[e.dialect][0])
				}
			}
			_, err = db.ExecContext(t.Context(), purgeLine(t, e.dialect))
			must(err)
			for _, name := range names {
				value, err := kv.Get(t.Context(), recordKey(name))
				must(err)
				if want := name != "logged out, old" && name != "refused, old"; (value != nil) != want {
					t.Errorf("%s: there is a record: %t; want %t", name, value != nil, want)
				}
			}

			// A write makes a record new, whatever was there.
			age("active, old", past[e.dialect][1])
			logout("active, old")
			_, err = db.ExecContext(t.Context(), purgeLine(t, e.dialect))
			must(err)
			if value, err := kv.Get(t.Context(), recordKey("active, old")); value == nil || err != nil {
				t.Errorf("a logout of now was deleted; error %v", err)
			}
		})
	}
}
