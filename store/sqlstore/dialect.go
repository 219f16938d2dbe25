package sqlstore

import "strings"

// A Dialect is the kind of database that a *sql.DB is connected to. The zero Dialect
// is none.
type Dialect int

const (
	SQLite     Dialect = iota + 1 // 3.51.3 or later
	PostgreSQL                    // tested with 15
	MariaDB                       // tested with 10.11
)

// statements are those of one table. Each runs by itself, without a transaction
// around it, and has the arguments in the order of its placeholders.
type statements struct {
	create string
	get    string // key; has one row: the value, NULL if absent, and whether a replica answers
	insert string // key, new; changes exactly one row if it swaps
	update string // new, key, old; changes exactly one row if it swaps
}

// statements returns those of the table, whose name is safe to be quoted.
func (d Dialect) statements(schema, table string) statements {
	var s statements
	quote := `"`
	switch d {
	case SQLite:
		// STRICT, so that a value that a driver sends as text is an error and not
		// one that equals no other. An empty value, which no record is, is none: one
		// driver reads it as NULL, and nobody could log in over it.
		s = statements{
			create: `CREATE TABLE IF NOT EXISTS %t (k TEXT PRIMARY KEY, value BLOB NOT NULL, updated_at INTEGER NOT NULL) STRICT`,
			get:    `SELECT (SELECT value FROM %t WHERE k = ?), 0`,
			insert: `INSERT INTO %t (k, value, updated_at) VALUES (?, ?, unixepoch()) ON CONFLICT (k) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at WHERE length(value) = 0`,
			update: `UPDATE %t SET value = ?, updated_at = unixepoch() WHERE k = ? AND value = ?`,
		}
	case PostgreSQL:
		// The order of other collations than "C" comes from the system's library.
		// When an upgrade changes it, an index no longer finds rows that are
		// there, and nobody seems to be logged in.
		s = statements{
			create: `CREATE TABLE IF NOT EXISTS %t (k text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, updated_at timestamptz NOT NULL)`,
			get:    `SELECT (SELECT value FROM %t WHERE k = $1), pg_is_in_recovery()`,
			insert: `INSERT INTO %t (k, value, updated_at) VALUES ($1, $2, clock_timestamp()) ON CONFLICT (k) DO NOTHING`,
			update: `UPDATE %t SET value = $1, updated_at = clock_timestamp() WHERE k = $2 AND value = $3`,
		}
	case MariaDB:
		// INSERT IGNORE would hide more than a duplicate key. ON DUPLICATE KEY
		// UPDATE counts 1 row if it inserts and 2 if it changes one, but if it has
		// nothing to change, 0 or 1, according to clientFoundRows. So the time is
		// one that always changes. By that an UPDATE counts a row that it found,
		// too, in either mode.
		//
		// An account without further rights learns of a replica only that it is read_only,
		// as is a primary that is about to be replaced by one. (The value is a number, and a
		// word in later versions.)
		quote = "`"
		s = statements{
			create: `CREATE TABLE IF NOT EXISTS %t (k CHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, value MEDIUMBLOB NOT NULL, updated_at DATETIME(6) NOT NULL) ENGINE=InnoDB`,
			get:    inSync + `SELECT (SELECT value FROM %t WHERE k = ?), CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')`,
			insert: inSync + `INSERT INTO %t (k, value, updated_at) VALUES (?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE updated_at = GREATEST(UTC_TIMESTAMP(6), updated_at + INTERVAL 1 MICROSECOND)`,
			update: inSync + `UPDATE %t SET value = ?, updated_at = GREATEST(UTC_TIMESTAMP(6), updated_at + INTERVAL 1 MICROSECOND) WHERE k = ? AND value = ?`,
		}
	}
	name := quote + table + quote
	if schema != "" {
		name = quote + schema + quote + "." + name
	}
	for _, text := range []*string{&s.create, &s.get, &s.insert, &s.update} {
		*text = strings.Replace(*text, "%t", name, 1)
	}
	return s
}
