package servers

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// PgBouncer starts a PgBouncer in front of primary, which PostgreSQL started. It shares a number
// of connections among all clients, transaction by transaction.
func PgBouncer(tb testing.TB, primary *Server, connections int) *Server {
	tb.Helper()
	bouncer := program(tb, "pgbouncer", "pgbouncer")
	isReady := program(tb, "pg_isready", "postgresql-client", postgresFolder()...)
	s := newServer(tb, syscall.SIGKILL, notRoot(tb, "postgres"))
	s.User, s.Database = primary.User, primary.Database
	to, toPort := primary.hostPort()
	host, port := s.hostPort()
	// auth_type=any asks nobody for a password, and is the same user to the server for all.
	config := fmt.Sprintf(`[databases]
%[1]s = host=%[2]s port=%[3]s dbname=%[1]s user=%[4]s
[pgbouncer]
listen_addr = %[5]s
listen_port = %[6]s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %[7]d
max_client_conn = 1000
`, s.Database, to, toPort, s.User, host, port, connections)
	file := s.path("pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	if s.account != nil {
		if err := os.Chown(file, s.account.uid, s.account.gid); err != nil {
			tb.Fatal(err)
		}
	}
	s.command = []string{bouncer, file}
	s.ready = func() error {
		return s.run(5*time.Second, isReady, "-h", host, "-p", port, "-d", s.Database, "-t", "2")
	}
	s.Start()
	return s
}
