// Package sqlstore keeps tokens in a SQL database, for any number of processes and
// machines that use the same one.
//
// A program opens the database with the driver of its choice, for this package
// imports none. It needs [CreateTable] once, and [New], whose result is for
// store.NewShared:
//
//	kv, err := sqlstore.New(db, sqlstore.PostgreSQL, "tokens")
//	…
//	tokens, err := store.NewShared(kv, store.Seal(key), nil)
//
// Complete programs are the examples in the folder internal/interop of the
// repository, one of them with a SQLite file that is encrypted as a whole. For many users
// there is examples/database, with a tokenclient.Pool.
//
// Who waits for a refresh of another process looks now and then whether it is over. With
// [Options.Listen] PostgreSQL says so at once, and of a SQLite file the kernel does, on Linux.
//
// # What is guaranteed
//
// Each operation is one short statement. Nothing is held between two of them: no
// transaction or lock, and no connection, though one may go from an operation to the next
// in line. So a small pool will do, and a proxy may give each transaction another
// connection. But a program that holds the only connection of
// its pool in a transaction, while it makes a request that needs a refresh, waits for
// itself until the call to the engine is given up.
//
// Get and CompareAndSwap are linearizable on the server that takes the writes. Never
// let a replica answer, nor a proxy that sends reads to one: an older record is an
// older refresh token. So Get asks the server that answers, in the same statement, and fails
// with ErrStoreUnavailable if it is a standby of PostgreSQL or a MariaDB that is read_only, and
// the connection is left for another. A replica of MariaDB that is not read_only cannot be
// told from its primary. What the server has answered to is kept as well as its
// settings say, see below. If it fails and a replica takes over that had not got
// the last records, these are lost: processes that have the newer token of the same
// login in memory write it again, otherwise there has to be a new login. So let the
// primary wait for a replica, if one is to take over.
//
// # Connections
//
// A *sql.DB makes as many connections as it is asked for, unless SetMaxOpenConns bounds
// them, and keeps two. With many users that is slow, and more than the server allows is an
// error. So a KV asks for no more than ten at a time; see [Options]. Who waits for longer
// than 5 seconds, which is the bound of a Shared on one operation, gets an error that says
// so: ErrStoreUnavailable, "in line behind other operations". If that happens, the database
// is too slow, or there are too few.
//
// A hundred users who come at the same moment with tokens that must be refreshed take
// 0.23 s over a PostgreSQL and a *sql.DB that was left as it is, as long as over ten
// connections that it was told to keep. Without the bound they took 1.3 s and up to a
// hundred connections. (Medians on a machine with two processors that was busy; the command
// is in docs/benchmarks.md.)
//
// Connections must commit each statement by itself, as they do unless autocommit is
// turned off.
//
// # SQLite
//
// Several processes on one machine share a file. It must be on a local disk. Stop them
// all before you delete, replace or restore it: a process that has the old file open
// goes on with that, and two processes then present the same token. Versions
// before 3.51.3, which can damage such a file, are refused at the first use. So is a
// file without a write-ahead log, see below.
//
// Drivers create files that every user may read. So create a folder with mode 0700
// first, and in it an empty file with mode 0600. SQLite gives its -wal, -shm and
// -journal files the mode of the database, but github.com/ncruces/go-sqlite3 does
// not: there the folder keeps others out. The data source name for it and for
// modernc.org/sqlite, with a path in which ?, # and % are escaped, is
//
//	file:PATH?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)
//
// These two were tested. Other drivers have other names for the same, and ignore these.
//
// With busy_timeout a statement waits for other processes instead of failing at
// once. With synchronous=FULL, the default, a power failure takes no record that was
// stored. The journal mode stays with the file. Of those that set it on a new file at the
// same moment, all but one get "database is locked" at once: [CreateTable] tries again, so
// let it be the first that opens the file.
//
// On Linux each swap sets the times of the file to now, of which the kernel tells those who wait
// (inotify). Where it does not, or the driver does not say where the file is, they look.
//
// WAL is needed. In the other journal modes, of which SQLite has one by default, nobody
// reads while a token is written, and a process that looks for its own beside a busy one
// may not get it in time. A database in memory is accepted, for tests.
//
// SQLite lets one connection write at a time and keeps no line of the others: each asks
// again from time to time, and whoever asks at the right moment is next. The writers of
// one KV are served in the order in which they came, so make one for each file, and let
// all sessions share it. Among processes the order is left to chance. A refresh writes
// twice, which takes some milliseconds, so that hardly ever matters. But beside a process
// that writes all the time, another one may get no turn before its call is given up after
// 5 seconds, and has to try again.
//
// # PostgreSQL
//
// With github.com/jackc/pgx/v5/stdlib, behind a proxy that gives each transaction
// another connection, add default_query_exec_mode=exec to the data source name, and
// connect to the server itself for Listen; no other setting is needed: the tests run
// storetest.RunKV behind PgBouncer in transaction mode with five connections. With several
// hosts in it add target_session_attrs=read-write, so that none of them is a replica: one
// that answers is found out and is an error.
//
// Leave synchronous_commit and fsync on: with synchronous_commit=off a crash of the
// server loses the records of its last second. With default_transaction_isolation
// above "read committed" writers that meet get an error instead of an answer, and a
// Shared asks again.
//
// # MariaDB
//
// With github.com/go-sql-driver/mysql no setting is needed; clientFoundRows and
// interpolateParams may have either value. Leave innodb_flush_log_at_trx_commit=1. Set
// read_only on every replica, and on a primary before another takes over. The account of the
// program must not be exempt from it (READ_ONLY ADMIN, or SUPER in older versions): a token that is
// being saved at that moment would be written where nobody reads it.
//
// In a Galera cluster any node will do, and each connection may lead to another one. A node answers
// others with what it has at the moment, which may be a record from before the last refresh. So
// each statement here has it wait until it has all that any node has answered to
// (wsrep_sync_wait), and those of two nodes that meet are told apart as on one server: one has
// swapped. A node that has lost the majority of its cluster answers with an error (or for about a
// second with what is the last record still), and its connection is left for another; leave
// wsrep_dirty_reads off. MariaDB 10.11 with Galera 26.4 and default settings passed
// storetest.RunKV with processes on two nodes, swaps of both nodes at once, a node that was behind,
// and one whose other half was killed. Not tested: Percona XtraDB Cluster, where each connection
// must set wsrep_sync_wait=7 because one statement cannot, and proxies that choose a server for
// each statement, such as MaxScale and ProxySQL.
//
// # Table
//
// The statements of CreateTable, for those who create their tables by other means:
//
//	SQLite:
//	CREATE TABLE IF NOT EXISTS "tokens" (k TEXT PRIMARY KEY, value BLOB NOT NULL, updated_at INTEGER NOT NULL) STRICT
//
//	PostgreSQL:
//	CREATE TABLE IF NOT EXISTS "tokens" (k text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, updated_at timestamptz NOT NULL)
//
//	MariaDB:
//	CREATE TABLE IF NOT EXISTS `tokens` (k CHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, value MEDIUMBLOB NOT NULL, updated_at DATETIME(6) NOT NULL) ENGINE=InnoDB
//
// Column k is a hash of the program's key, value is a record, most of it sealed, and
// updated_at is when it was written, by the clock of the database. The account of the
// program needs SELECT, INSERT and UPDATE.
//
// # Old records
//
// A logout leaves a record of some 70 bytes that says so, which keeps a process that
// was stopped meanwhile from bringing the session back. It is not needed for longer
// than any process may be stopped. To delete those of more than a day ago, run from
// time to time
//
//	SQLite:
//	DELETE FROM "tokens" WHERE substr(value, 1, 1) = x'01' AND substr(value, 42, 1) >= x'02' AND updated_at < unixepoch() - 86400
//
//	PostgreSQL:
//	DELETE FROM "tokens" WHERE substr(value, 1, 1) = '\x01' AND substr(value, 42, 1) >= '\x02' AND updated_at < now() - interval '1 day'
//
//	MariaDB:
//	DELETE FROM `tokens` WHERE substr(value, 1, 1) = x'01' AND substr(value, 42, 1) >= x'02' AND updated_at < UTC_TIMESTAMP() - INTERVAL 1 DAY
package sqlstore
