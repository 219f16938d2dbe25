package sqlstore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
)

// A connector is a driver that knows what it is asked about itself and nothing else:
// every other statement succeeds, or fails, without effect.
type connector struct {
	version string // of SQLite
	journal string // mode; empty: wal
	file    string // of the database
	ran     *[]string
	replica bool // is what answers

	// exec and fail, if not nil, are called by statements that change something,
	// and by all; connect by connections that are made; prepare before each statement.
	prepare func() error
	exec    func(arg driver.Value)
	fail    func() error
	connect func()
}

func (c connector) Connect(context.Context) (driver.Conn, error) {
	if c.connect != nil {
		c.connect()
	}
	return conn{c}, nil
}
func (c connector) Driver() driver.Driver { return nil }

type conn struct{ connector }

func (c conn) Prepare(query string) (driver.Stmt, error) {
	if c.ran != nil {
		*c.ran = append(*c.ran, query)
	}
	if c.prepare != nil {
		if err := c.prepare(); err != nil {
			return nil, err
		}
	}
	return stmt{c, query}, nil
}
func (conn) Close() error              { return nil }
func (conn) Begin() (driver.Tx, error) { return nil, errors.New("nobody needs a transaction") }

type stmt struct {
	conn
	query string
}

func (stmt) Close() error  { return nil }
func (stmt) NumInput() int { return -1 }

func (s stmt) Exec(args []driver.Value) (driver.Result, error) {
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return nil, err
		}
	}
	if s.exec != nil {
		s.exec(args[0])
	}
	return driver.RowsAffected(1), nil
}

func (s stmt) Query([]driver.Value) (driver.Rows, error) {
	switch {
	case strings.Contains(s.query, "sqlite_version"):
		return &rows{left: [][]driver.Value{{s.version, int64(0)}}}, nil
	case strings.Contains(s.query, "journal_mode"):
		mode := s.journal
		if mode == "" {
			mode = "wal"
		}
		return &rows{left: [][]driver.Value{{mode}}}, nil
	case strings.Contains(s.query, "database_list"):
		return &rows{left: [][]driver.Value{{s.file}}}, nil
	case s.fail != nil:
		if err := s.fail(); err != nil {
			return nil, err
		}
	}
	return &rows{left: [][]driver.Value{{nil, s.replica}}}, nil
}

type rows struct{ left [][]driver.Value }

func (r *rows) Columns() []string {
	if len(r.left) == 0 {
		return nil
	}
	return make([]string, len(r.left[0]))
}

func (*rows) Close() error { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	copy(dest, r.left[0])
	r.left = r.left[1:]
	return nil
}
