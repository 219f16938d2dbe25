// Package servers starts real servers for tests: Redis, PostgreSQL, PgBouncer, MariaDB, Galera. Each
// is private to one test: it has a folder and a port of its own, keeps its data over
// [Server.Stop] and [Server.Start], ends with the test or, if that is killed, with
// its process, and never touches the instance that the system may run.
//
// They run on Linux, from the Debian packages redis-server, postgresql,
// pgbouncer, mariadb-server and galera-4; nobody has to set up or start anything. A test whose program is
// missing is skipped with a message that names the package.
//
// Anybody on the machine can log in while the test runs.
package servers
