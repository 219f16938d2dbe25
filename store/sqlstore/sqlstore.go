package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/filewatch"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// tableName is what all dialects can quote: without a character that would end the
// quotes, and no longer than PostgreSQL keeps.
var tableName = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_]{0,62})\.)?([A-Za-z_][A-Za-z0-9_]{0,62})$`)

// Options change what [New] does by default; [Options.New] is New with them.
type Options struct {
	// MaxOperations is how many operations of the KV the database has at a time. Others
	// wait in line, first come first served, for as long as their contexts allow, which is
	// 5 seconds with a Shared. A fifth is for urgent ones alone, which also go first: the
	// save of a token that was just refreshed, which is nowhere else, logins and logouts.
	// With 1 none is. SQLite, which has one writer at a time, gets writes one by one, and
	// this many reads. 0: 10.
	//
	// Each operation has a connection of its own. Many more at a time than the database has
	// processors make it slower, and a server refuses those that exceed its own limit. So
	// add up the processes that share it. DB.SetMaxOpenConns may be lower, but then the
	// statements of the rest of the program wait in the same line as those that are urgent.
	MaxOperations int

	// Listen makes the KV a [store.Notifier]: each swap notifies (NOTIFY of PostgreSQL), and
	// who waits for a refresh of another process is woken at once. All processes need it that
	// others wait for. It is for PostgreSQL alone. Nil: who waits looks.
	//
	// It is called on a goroutine of the KV when something is waited for, and again if it fails
	// meanwhile. Its context ends five minutes after nothing is waited for any more; a program
	// that closes the database before has to end it, as internal/interop/example_listen_test.go
	// does, which is to be copied. A pooler that hands out connections for one transaction at a time
	// does not pass LISTEN on: connect to the server itself there.
	//
	// PostgreSQL commits those that notify one after another. It keeps what they tell until
	// every connection that listens has it, and refuses to commit when the room for it is full
	// (8 GiB): so none that listens may stay in a transaction. Whoever can connect to the
	// database can hear hashes of the keys that change.
	Listen ListenFunc
}

const defaultOperations = 10

// New is [Options.New] of the zero Options.
func New(db *sql.DB, d Dialect, table string) (store.KV, error) {
	return Options{}.New(db, d, table)
}

// New returns a KV that keeps its values in a table of db, for store.NewShared. The
// table is made by [CreateTable]; its name has up to 63 letters of ASCII, digits and
// underscores, of which the first is no digit, and may have that of a schema and a
// dot before it. Upper and lower case count, as in a quoted name.
//
// New refuses a nil db, an unknown dialect, any other name, a negative MaxOperations, and a
// Listen for another dialect.
// It does not ask the database for anything, so a program can start before its database
// does, and the KV never closes db. It may be used by several goroutines at a time: make one
// for a database, and let all sessions share it.
//
// Errors of the KV name the operation and the table, and say what happened in words of this
// package, for those of drivers name users and hosts. They are the driver's error too, and
// ctx's if that ended, be it in line behind other operations, which they say then.
func (o Options) New(db *sql.DB, d Dialect, table string) (store.KV, error) {
	t, err := newTable(db, d, table)
	if err == nil && o.MaxOperations < 0 {
		err = fmt.Errorf("Options.MaxOperations is negative: %d; 0 means %d", o.MaxOperations, defaultOperations)
	}
	if err == nil && o.Listen != nil && d != PostgreSQL {
		err = errors.New("Options.Listen is for PostgreSQL; leave it nil")
	}
	if err != nil {
		return nil, fmt.Errorf("sqlstore: New: %w", err)
	}
	t.reads = newLine(cmp.Or(o.MaxOperations, defaultOperations))
	t.writes = t.reads
	if d == SQLite {
		t.writes = newLine(1)
	}
	switch {
	case o.Listen != nil:
		return newNotifier(t, o.Listen), nil
	case d == SQLite && filewatch.Supported:
		return &toucher{table: t}, nil
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
	create := func() error {
		if d == SQLite {
			if err := t.sqlite.checkNew(ctx, db); err != nil {
				return err
			}
		}
		_, err := db.ExecContext(ctx, t.create)
		return err
	}
	err = create()
	switch {
	case err == nil:
		return nil
	case d == SQLite:
		err = againWhileLocked(ctx, err, create)
	case d == PostgreSQL:
		// Of those who do this at once, PostgreSQL lets one succeed and fails the
		// others, in spite of IF NOT EXISTS and in one of several ways, as soon as
		// the table is there.
		err = create()
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
	galera galera

	// They are one and the same, but for SQLite. That lets one connection write at a time
	// and has no line for the others. They ask again after ever longer pauses, up to
	// 100 ms, and whoever asks at the right moment is next: of sixteen that write all the
	// time one may wait for several seconds, though a write takes a millisecond. So the
	// writers of a KV wait here, and SQLite meets one of them at a time.
	reads, writes *line
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
	err = t.inTurn(ctx, t.reads, func(q querier) error {
		var replica bool
		err := q.QueryRowContext(ctx, t.galera.text(t.get), key).Scan(&value, &replica)
		if err == nil && replica {
			err = errReplica
		}
		return err
	})
	if err != nil {
		return nil, t.fail(ctx, "read", err)
	}
	return value, nil
}

func (t *table) CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	statement, args := t.insert, []any{key, new}
	if old != nil {
		statement, args = t.update, []any{new, key, old}
	}
	err = t.inTurn(ctx, t.writes, func(q querier) error {
		return againInConflict(ctx, func() error {
			result, err := q.ExecContext(ctx, t.galera.text(statement), args...)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			swapped = err == nil && n == 1
			return err
		})
	})
	if err != nil {
		return false, t.fail(ctx, "write", err)
	}
	return swapped, nil
}

// A querier is a *sql.Conn or a *sql.DB.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// inTurn calls do, which runs one statement, when it is its turn in line.
func (t *table) inTurn(ctx context.Context, l *line, do func(querier) error) error {
	mine, err := l.enter(ctx)
	if err != nil {
		return err
	}
	var next turn
	defer func() { l.leave(next) }() // also if the driver panics, which blocks its Conn for good
	if mine.conn == nil {
		if mine.conn, err = t.db.Conn(ctx); err != nil {
			return err
		}
	}
	if err = t.sqlite.check(ctx, mine.conn); err != nil {
		mine.close()
		return err
	}
	err = t.galera.run(func() error { return do(mine.conn) })
	if err == nil {
		mine.uses++
		next = mine
		return nil
	}
	if isToBeLeft(err) {
		mine.discard() // another may lead to the primary, as after a failover
		return err
	}
	mine.close() // only what has just worked is handed on
	if errors.Is(err, driver.ErrBadConn) {
		// The server had closed it before the statement was sent. Any other that is free
		// may be no better, which database/sql knows how to find out.
		err = t.galera.run(func() error { return do(t.db) })
	}
	return err
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
