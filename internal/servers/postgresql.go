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
	bin := postgresFolder()
	initdb := program(tb, "initdb", "postgresql", bin...)
	postgres := program(tb, "postgres", "postgresql", bin...)
	isReady := program(tb, "pg_isready", "postgresql-client", bin...)

	// SIGQUIT is PostgreSQL's own cut: nothing is finished or written. After
	// SIGKILL connections would live on for a moment, and System V shared memory
	// for ever.
	s := newServer(tb, syscall.SIGQUIT, notRoot(tb, "postgres"))
	s.User, s.Database = "postgres", "postgres"
	data := s.path("data")
	if err := s.run(startTimeout, initdb, "-D", data, "-U", s.User, "-A", "trust", "-E", "UTF8", "--locale=C",
		"--no-sync", "--wal-segsize=1"); err != nil {
		tb.Fatal(err)
	}
	s.command = []string{postgres, "-D", data, "-p", s.port(), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "dynamic_shared_memory_type=mmap", "-c", "shared_buffers=16MB"}
	// Commits are still written before they are answered to, only not synced to
	// the disk. That loses none when the server is killed, for the system has them.
	for _, setting := range append([]string{"fsync=off", "full_page_writes=off"}, settings...) {
		s.command = append(s.command, "-c", setting)
	}
	s.ready = func() error {
		return s.run(5*time.Second, isReady, "-h", "127.0.0.1", "-p", s.port(), "-t", "2")
	}
	s.Start()
	return s
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
