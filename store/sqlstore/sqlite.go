package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// A sqlite is what a table needs in SQLite, where no server keeps the clients apart.
// With other dialects it is nil and does nothing.
type sqlite struct {
	version string      // asks for the version, and looks at the file
	journal string      // asks for the journal mode
	where   string      // asks for the file
	fit     atomic.Bool // the first two are known to be good

	file atomic.Pointer[string] // nil: there is none, or it is not known yet
}

func newSQLite(schema string) *sqlite {
	name := cmp.Or(schema, "main")
	if schema != "" {
		schema = `"` + schema + `".`
	}
	return &sqlite{
		where: "SELECT file FROM pragma_database_list WHERE lower(name) = lower('" + name + "')",
		// A connection that has not looked at the file since another one changed
		// the journal mode would answer with the former mode.
		version: "SELECT sqlite_version(), count(*) FROM " + schema + "sqlite_master",
		journal: "PRAGMA " + schema + "journal_mode",
	}
}

// SQLite before this has a race between connections that write and that reset the
// log, in WAL mode, which can damage the file: https://sqlite.org/releaselog/3_51_3.html
var minSQLite = [3]int{3, 51, 3}

// check refuses a SQLite that is too old and a file that has no write-ahead log. The
// version is linked into the program and the journal mode is kept in the file, so one
// good answer is enough.
//
// Without the log, readers and writers keep each other out. A process that only reads
// finds the file locked nearly always while another one writes one token after the
// other, and was seen to wait for as long as a Shared does. A database in memory,
// which tests have, is for one process.
func (s *sqlite) check(ctx context.Context, conn *sql.Conn) error {
	if s == nil || s.fit.Load() {
		return nil
	}
	var version, mode string
	var tables int
	if err := conn.QueryRowContext(ctx, s.version).Scan(&version, &tables); err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, s.journal).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" && mode != "memory" {
		return &ownError{fmt.Errorf("the database has journal_mode=%s, need wal, which the statement PRAGMA journal_mode=wal sets for good: "+
			"otherwise processes that read can wait too long for those that write", mode)}
	}
	// A driver that cannot say it, or has files of its own, wakes nobody: who waits looks.
	var file string
	if err := conn.QueryRowContext(ctx, s.where).Scan(&file); err == nil && filepath.IsAbs(file) {
		s.file.Store(&file)
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	s.fit.Store(true)
	return nil
}

// path is that of the file, absolute; empty if there is none, or nobody has used it yet.
func (s *sqlite) path() string {
	if file := s.file.Load(); file != nil {
		return *file
	}
	return ""
}

// checkNew is check on a connection of db.
func (s *sqlite) checkNew(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // of one that broke it is an error that says nothing
	return s.check(ctx, conn)
}

// lockedFor is for how long a file is tried that is locked, beside what busy_timeout waits.
const lockedFor = 5 * time.Second

// againWhileLocked calls create again while it fails because others have locked the file.
//
// Connections that set the write-ahead log of a new file at the same moment do not wait for
// each other, whatever busy_timeout says: one sets it, and the others fail at once. Who makes
// the table is the first to open the file; later ones find the log, and set nothing.
func againWhileLocked(ctx context.Context, err error, create func() error) error {
	for end := time.Now().Add(lockedFor); isLocked(err) && time.Now().Before(end); err = create() {
		select {
		case <-time.After(5*time.Millisecond + rand.N(20*time.Millisecond)):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

func checkVersion(version string) error {
	var v [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return &ownError{fmt.Errorf("SQLite has the version %+q, which is no version", version)}
	}
	if slices.Compare(v[:], minSQLite[:]) < 0 {
		return &ownError{fmt.Errorf("SQLite %s is too old, need %d.%d.%d or later: before that, processes that share a file can damage it",
			version, minSQLite[0], minSQLite[1], minSQLite[2])}
	}
	return nil
}
