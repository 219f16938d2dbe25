package sqlstore_test

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// coded is an error of pgx or of lib/pq.
type coded struct{ state, text string }

func (e *coded) Error() string    { return e.text }
func (e *coded) SQLState() string { return e.state }

// connectError is how pgx wraps what keeps it from a connection.
type connectError struct{ err error }

func (e *connectError) Error() string {
	return "failed to connect to `user=app_user database=app_db`: 10.1.2.3:5432 (db.internal): " + e.err.Error()
}
func (e *connectError) Unwrap() error { return e.err }

func dialed(cause error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5432}, Err: cause}
}

// TestFailures: what drivers say names accounts, hosts and networks. What this package makes
// of it names none, says what is the matter, and has the driver's error as its cause.
func TestFailures(t *testing.T) {
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	for name, c := range map[string]struct {
		err  error
		want string
		is   error
	}{
		"pgx, no table":        {&coded{"42P01", `ERROR: relation "app_db.tokens" does not exist (SQLSTATE 42P01)`}, "no such table: CreateTable makes it (SQLSTATE 42P01)", nil},
		"pgx, password":        {&connectError{&coded{"28P01", `FATAL: password authentication failed for user "app_user" (SQLSTATE 28P01)`}}, "refused the login", nil},
		"pgx, not let in":      {&connectError{&coded{"28000", `FATAL: no pg_hba.conf entry for host "10.1.2.3", user "app_user"`}}, "refused the login", nil},
		"pgx, right":           {&coded{"42501", `permission denied for app_user`}, "lacks the right", nil},
		"pgx, full":            {&connectError{&coded{"53300", `FATAL: sorry, app_user, too many clients already`}}, "no connection left", nil},
		"pgx, unknown code":    {&coded{"XX999", `app_user at db.internal`}, "refused the statement (SQLSTATE XX999)", nil},
		"pgx, refused":         {&connectError{dialed(refused)}, "cannot be reached: connection refused", syscall.ECONNREFUSED},
		"pgx, name":            {&connectError{&net.DNSError{Err: "no such host", Name: "db.internal", Server: "10.1.2.3:53", IsNotFound: true}}, "its name cannot be looked up", nil},
		"pgx, certificate":     {&connectError{x509.HostnameError{Certificate: new(x509.Certificate), Host: "db.internal"}}, "certificate", nil},
		"pgx, time":            {&connectError{fmt.Errorf("timeout: %w", context.DeadlineExceeded)}, "no answer in time", context.DeadlineExceeded},
		"mysql, no table":      {errors.New("Error 1146 (42S02): Table 'app_db.tokens' doesn't exist"), "no such table: CreateTable makes it (error 1146, SQLSTATE 42S02)", nil},
		"mysql, password":      {errors.New("Error 1045 (28000): Access denied for user 'app_user'@'10.1.2.3' (using password: YES)"), "refused the login", nil},
		"mysql, old":           {errors.New("Error 1045: Access denied for user 'app_user'@'10.1.2.3'"), "refused the login", nil},
		"mysql, host":          {errors.New("Error 1130 (HY000): Host '10.1.2.3' is not allowed to connect to this MariaDB server"), "refused the login", nil},
		"mysql, database":      {errors.New("Error 1049 (42000): Unknown database 'app_db'"), "no such database", nil},
		"mysql, right":         {errors.New("Error 1142 (42000): SELECT command denied to user 'app_user'@'db.internal' for table `app_db`.`tokens`"), "lacks the right", nil},
		"mysql, read only":     {errors.New("Error 1290 (HY000): The MariaDB server at db.internal is running with --read-only"), "takes no writes", nil},
		"mysql, refused":       {dialed(refused), "cannot be reached: connection refused", syscall.ECONNREFUSED},
		"mysql, broken":        {errors.New("invalid connection"), "the connection broke", nil},
		"SQLite, no table":     {errors.New("SQL logic error: no such table: tokens (1)"), "no such table: CreateTable makes it", nil},
		"SQLite, locked":       {errors.New("database is locked (5) (SQLITE_BUSY) at /home/app_user/app_db"), "locked by another connection", nil},
		"SQLite, file":         {errors.New("unable to open database file /home/app_user/app_db"), "unable to open database file", nil},
		"SQLite, another file": {errors.New("/home/app_user/app_db: file is not a database"), "file is not a database", nil},
		"cut":                  {fmt.Errorf("from db.internal: %w", io.ErrUnexpectedEOF), "the connection broke", io.ErrUnexpectedEOF},
		"a DSN":                {errors.New(`cannot parse "postgres://app_user:pw@db.internal/app_db"`), "the driver failed with a *errors.errorString", nil},
		"any other":            {fmt.Errorf("as app_user: %w", &os.PathError{Op: "open", Path: "/app_db", Err: errors.New("10.1.2.3")}), "the driver failed with a", nil},
		"closed for good":      {sql.ErrConnDone, "the *sql.DB is closed", sql.ErrConnDone},
	} {
		db := sql.OpenDB(connector{version: "3.51.3", fail: func() error { return c.err }})
		defer db.Close()
		kv, err := sqlstore.New(db, sqlstore.PostgreSQL, "tokens")
		if err != nil {
			t.Fatal(err)
		}
		_, getErr := kv.Get(t.Context(), "key")
		_, casErr := kv.CompareAndSwap(t.Context(), "key", nil, []byte("new"))
		for op, err := range map[string]error{"read": getErr, "write": casErr, "create": sqlstore.CreateTable(t.Context(), db, sqlstore.PostgreSQL, "tokens")} {
			if err == nil || !strings.HasPrefix(err.Error(), "sqlstore: "+op+" table tokens: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s: %v; want %q", name, op, err, c.want)
				continue
			}
			for _, secret := range []string{"app_user", "app_db", "10.1.2.3", "db.internal", "pw"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: %s: %v names %s", name, op, err, secret)
				}
			}
			if !errors.Is(err, c.err) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: %s: the driver's error is not among the causes of %v", name, op, err)
			}
		}
	}
}

func TestClosedDatabase(t *testing.T) {
	db := sql.OpenDB(connector{version: "3.51.3"})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	kv, err := sqlstore.New(db, sqlstore.MariaDB, "tokens")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "key"); err == nil || err.Error() != "sqlstore: read table tokens: the *sql.DB is closed" {
		t.Error(err)
	}
}
