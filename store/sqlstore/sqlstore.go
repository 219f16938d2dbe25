package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// tableName is what all dialects can quote: without a character that would end the
// quotes, and no longer than PostgreSQL keeps.
var tableName = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_]{0,62})\.)?([A-Za-z_][A-Za-z0-9_]{0,62})$`)

// New returns a KV that keeps its values in a table of db, for store.NewShared. The
// table is made by [CreateTable]; its name has up to 63 letters of ASCII, digits and
// underscores, of which the first is no digit, and may have that of a schema and a
// dot before it. Upper and lower case count, as in a quoted name.
//
// New refuses a nil db, an unknown dialect and any other name. It does not ask the
// database for anything, so a program can start before its database does, and the
// KV never closes db. It may be used by several goroutines at a time.
//
// Errors of the KV name the operation and the table, and say what happened in words of this
// package, for those of drivers name users and hosts. They are the driver's error too, and
// ctx's if that ended.
func New(db *sql.DB, d Dialect, table string) (store.KV, error) {
	t, err := newTable(db, d, table)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: New: %w", err)
	}
	return t, nil
}

// CreateTable creates the table for [New] unless there is one of that name, whose
// columns it does not look at. Any number of processes may do so at the same time.
// It refuses what New refuses.
//
// The account needs the right to create tables even if there is one already. Where a
// service must not have it, run the statement in the package documentation once.
func CreateTable(ctx context.Context, db *sql.DB, d Dialect, table string) error {
	t, err := newTable(db, d, table)
	if err != nil {
		return fmt.Errorf("sqlstore: CreateTable: %w", err)
	}
	if err := t.sqlite.check(ctx, t.db); err != nil {
		return t.fail(ctx, "create", err)
	}
	_, err = db.ExecContext(ctx, t.create)
	if err != nil && d == PostgreSQL {
		// Of those who do this at once, PostgreSQL lets one succeed and fails the
		// others, in spite of IF NOT EXISTS and in one of several ways, as soon as
		// the table is there.
		_, err = db.ExecContext(ctx, t.create)
	}
	if err != nil {
		return t.fail(ctx, "create", err)
	}
	return nil
}

// table is a KV.
type table struct {
	db   *sql.DB
	name string // as the caller wrote it, for errors
	statements
	sqlite *sqlite // nil: another dialect
}

func newTable(db *sql.DB, d Dialect, name string) (*table, error) {
	if db == nil {
		return nil, errors.New("the *sql.DB is nil")
	}
	if d < SQLite || d > MariaDB {
		return nil, fmt.Errorf("unknown dialect %d", int(d))
	}
	parts := tableName.FindStringSubmatch(name)
	if parts == nil {
		return nil, fmt.Errorf("table name %+q: want letters, digits and underscores, up to 63, and perhaps a schema and a dot before them", name)
	}
	t := &table{db: db, name: name, statements: d.statements(parts[1], parts[2])}
	if d == SQLite {
		t.sqlite = newSQLite(parts[1])
	}
	return t, nil
}

func (t *table) Get(ctx context.Context, key string) (value []byte, err error) {
	if err := t.sqlite.check(ctx, t.db); err != nil {
		return nil, t.fail(ctx, "read", err)
	}
	err = t.db.QueryRowContext(ctx, t.get, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, t.fail(ctx, "read", err)
	}
	return value, nil
}

func (t *table) CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	if err := t.sqlite.check(ctx, t.db); err != nil {
		return false, t.fail(ctx, "write", err)
	}
	if err := t.sqlite.begin(ctx); err != nil {
		return false, t.fail(ctx, "write", err)
	}
	defer t.sqlite.end()
	var result sql.Result
	if old == nil {
		result, err = t.db.ExecContext(ctx, t.insert, key, new)
	} else {
		result, err = t.db.ExecContext(ctx, t.update, new, key, old)
	}
	if err != nil {
		return false, t.fail(ctx, "write", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, t.fail(ctx, "write", err)
	}
	return n == 1, nil
}

// fail names the operation and the table. Drivers have words of their own for a
// context that ended, "database is locked" among them.
func (t *table) fail(ctx context.Context, op string, err error) error {
	err = told(err)
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return fmt.Errorf("sqlstore: %s table %s: %w", op, t.name, err)
}
