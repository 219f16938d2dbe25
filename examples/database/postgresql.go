package main

import (
	"context"
	"database/sql"
	"errors"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// openPostgreSQL opens a database that was given as postgres://USER@HOST/DATABASE. The KV
// bounds its connections by itself.
func openPostgreSQL(ctx context.Context, dsn string) (database, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return database{}, err
	}
	if err := sqlstore.CreateTable(ctx, db, sqlstore.PostgreSQL, "tokens"); err != nil {
		return database{}, errors.Join(err, db.Close())
	}
	kv, err := sqlstore.New(db, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		return database{}, errors.Join(err, db.Close())
	}
	return database{kv, func() int { return db.Stats().OpenConnections }, db.Close}, nil
}
