//go:build !race

package interop_test

import (
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// The race detector looks at our code, which is the same for all of these, and takes
// minutes to compile another SQLite.
func init() {
	engines = append(engines,
		engine{"SQLite ncruces", sqlstore.SQLite, "sqlite3", sqliteFile, nil},
		engine{"PostgreSQL that notifies, without named statements", sqlstore.PostgreSQL, "pgx", postgreSQL("&default_query_exec_mode=exec"), listens},
		engine{"PostgreSQL behind PgBouncer", sqlstore.PostgreSQL, "pgx", pgBouncer, nil},
		engine{"MariaDB counting found rows", sqlstore.MariaDB, "mysql", mariaDB("clientFoundRows=true&interpolateParams=true&collation=utf8mb4_general_ci"), nil},
	)
}

// pgBouncer gives each transaction another of five connections; the name is as the documentation
// of sqlstore has it.
func pgBouncer(t testing.TB) string {
	return postgreSQLName(servers.PgBouncer(t, servers.PostgreSQL(t), 5)) + "&default_query_exec_mode=exec"
}
