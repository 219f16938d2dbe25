package servers

import (
	"syscall"
	"testing"
	"time"
)

// MariaDB starts a MariaDB. The options, such as "--max-connections=200", are added
// to its command.
func MariaDB(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s := newMariaDB(tb, options...)
	s.installMariaDB()
	s.Start()
	return s
}

// newMariaDB returns one that has no data yet, and does not run.
func newMariaDB(tb testing.TB, options ...string) *Server {
	tb.Helper()
	mariadbd := program(tb, "mariadbd", "mariadb-server")
	admin := program(tb, "mariadb-admin", "mariadb-client")

	s := newServer(tb, syscall.SIGKILL, notRoot(tb, "mysql"))
	s.User, s.Database = "root", "test"
	host, port := s.hostPort()
	s.command = append(append([]string{mariadbd}, s.mariaDBFiles()...), "--bind-address="+host, "--port="+port,
		"--socket="+s.path("socket"), "--pid-file="+s.path("pid"), "--performance-schema=OFF")
	s.command = append(s.command, options...)
	s.ready = func() error { // not "ping", which takes a refused login for an answer
		return s.run(5*time.Second, admin, "--no-defaults", "--protocol=tcp", "-h", host, "-P", port,
			"-u", s.User, "--connect-timeout=2", "status")
	}
	return s
}

// mariaDBFiles are the options that say where the data is, and how it is kept.
func (s *Server) mariaDBFiles() []string {
	return []string{"--no-defaults", "--datadir=" + s.path("data"), "--tmpdir=" + s.dir, "--skip-name-resolve",
		"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M",
		// A commit is written before it is answered to, and synced to the disk
		// once a second. That loses none when the server is killed, for the
		// system has them.
		"--innodb-flush-log-at-trx-commit=2"}
}

func (s *Server) installMariaDB() {
	s.tb.Helper()
	install := program(s.tb, "mariadb-install-db", "mariadb-server")
	if err := s.run(startTimeout, append(append([]string{install}, s.mariaDBFiles()...), "--auth-root-authentication-method=normal")...); err != nil {
		s.tb.Fatal(err)
	}
}
