package servers

import (
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// PostgreSQL starts a PostgreSQL, the newest that is installed. Connections over TCP
// need sslmode=disable with some drivers. The settings, such as "max_connections=200",
// are added to its command.
func PostgreSQL(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	initdb := program(tb, "initdb", "postgresql", postgresFolder()...)
	s := newPostgreSQL(tb)
	if err := s.run(startTimeout, initdb, "-D", s.path("data"), "-U", s.User, "-A", "trust", "-E", "UTF8", "--locale=C",
		"--no-sync", "--wal-segsize=1"); err != nil {
		tb.Fatal(err)
	}
	s.startPostgreSQL(settings)
	return s
}

// PostgreSQLStandby starts a replica of primary, which PostgreSQL started. It answers queries
// with what it has got so far.
func PostgreSQLStandby(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	backup := program(tb, "pg_basebackup", "postgresql-client", postgresFolder()...)
	s := newPostgreSQL(tb)
	host, port := primary.hostPort()
	if err := s.run(startTimeout, backup, "-D", s.path("data"), "-h", host, "-p", port, "-U", s.User,
		"--checkpoint=fast", "--no-sync", "--write-recovery-conf"); err != nil {
		tb.Fatal(err)
	}
	s.startPostgreSQL(nil)
	return s
}

func newPostgreSQL(tb testing.TB) *Server {
	tb.Helper()
	// SIGQUIT is PostgreSQL's own cut: nothing is finished or written. After
	// SIGKILL connections would live on for a moment, and System V shared memory
	// for ever.
	s := newServer(tb, syscall.SIGQUIT, notRoot(tb, "postgres"))
	s.User, s.Database = "postgres", "postgres"
	return s
}

func (s *Server) startPostgreSQL(settings []string) {
	s.tb.Helper()
	bin := postgresFolder()
	postgres := program(s.tb, "postgres", "postgresql", bin...)
	isReady := program(s.tb, "pg_isready", "postgresql-client", bin...)
	host, port := s.hostPort()
	s.command = []string{postgres, "-D", s.path("data"), "-p", port, "-c", "listen_addresses=" + host,
		"-c", "unix_socket_directories=", "-c", "dynamic_shared_memory_type=mmap", "-c", "shared_buffers=16MB"}
	// Commits are still written before they are answered to, only not synced to
	// the disk. That loses none when the server is killed, for the system has them.
	for _, setting := range append([]string{"fsync=off", "full_page_writes=off"}, settings...) {
		s.command = append(s.command, "-c", setting)
	}
	s.ready = func() error {
		return s.run(5*time.Second, isReady, "-h", host, "-p", port, "-t", "2")
	}
	s.Start()
}

// postgresFolder is where Debian keeps the programs of the newest version, which are
// not in PATH; it is nowhere on other systems.
func postgresFolder() (folder []string) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	newest := 0
	for _, f := range folders {
		if version, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && version > newest {
			newest, folder = version, []string{f}
		}
	}
	return folder
}
