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
	mariadbd := program(tb, "mariadbd", "mariadb-server")
	install := program(tb, "mariadb-install-db", "mariadb-server")
	admin := program(tb, "mariadb-admin", "mariadb-client")

	s := newServer(tb, syscall.SIGKILL, notRoot(tb, "mysql"))
	s.User, s.Database = "root", "test"
	own := []string{"--no-defaults", "--datadir=" + s.path("data"), "--tmpdir=" + s.dir, "--skip-name-resolve",
		"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M",
		// A commit is written before it is answered to, and synced to the disk
		// once a second. That loses none when the server is killed, for the
		// system has them.
		"--innodb-flush-log-at-trx-commit=2"}
	if err := s.run(startTimeout, append(append([]string{install}, own...), "--auth-root-authentication-method=normal")...); err != nil {
		tb.Fatal(err)
	}
	s.command = append(append([]string{mariadbd}, own...), "--bind-address=127.0.0.1", "--port="+s.port(),
		"--socket="+s.path("socket"), "--pid-file="+s.path("pid"), "--performance-schema=OFF")
	s.command = append(s.command, options...)
	s.ready = func() error { // not "ping", which takes a refused login for an answer
		return s.run(5*time.Second, admin, "--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", s.port(),
			"-u", s.User, "--connect-timeout=2", "status")
	}
	s.Start()
	return s
}
