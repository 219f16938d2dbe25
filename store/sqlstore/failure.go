package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
)

// A failure is an error of the database or its driver in words of this package. Theirs name
// the account, the host and the network, and become part of the errors of requests, which
// users may see. Those who ask for the cause get it whole.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// An ownError is what this package itself has to say: that a database is not fit for it, or
// that others are in line before.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// told returns err with a text that names neither user nor host.
func told(err error) error {
	var own *ownError
	switch {
	case errors.As(err, &own):
		return err
	case errors.Is(err, sql.ErrConnDone), strings.Contains(err.Error(), "sql: database is closed"):
		return &failure{"the *sql.DB is closed", err}
	}
	if code, state := codeOf(err); state != "" {
		return &failure{fmt.Sprintf("%s (%s)", meaning(code, state), strings.TrimLeft(code+", SQLSTATE "+state, ", ")), err}
	}
	for _, p := range phrases {
		if strings.Contains(strings.ToLower(err.Error()), p.said) {
			return &failure{p.means, err}
		}
	}
	return &failure{network(err), err}
}

// errReplica is for a Get that a replica answered. What it has may be old, and an older record
// is an older refresh token.
var errReplica = &ownError{errors.New("the server is a replica, or set to read only, so that its records may be old: connect to the primary")}

// isToBeLeft reports whether the server of that connection is to be left for another: a replica,
// or a node that waits for its cluster in vain.
func isToBeLeft(err error) bool {
	if errors.Is(err, errReplica) {
		return true
	}
	code, state := codeOf(err)
	if state == "" {
		return false
	}
	means := meaning(code, state)
	return means == readOnly || means == apart || means == waited
}

// isLocked reports whether SQLite said so.
func isLocked(err error) bool {
	var f *failure
	return err != nil && errors.As(told(err), &f) && f.text == locked
}

// network says what became of the connection, or else of what type the innermost error is.
func network(err error) string {
	const unreachable = "the database cannot be reached"
	var (
		dns   *net.DNSError
		errno syscall.Errno
		op    *net.OpError
		wait  interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns):
		return unreachable + ": its name cannot be looked up"
	case errors.As(err, &op) && errors.As(err, &errno):
		return unreachable + ": " + errno.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: " + context.DeadlineExceeded.Error()
	case errors.Is(err, context.Canceled):
		return context.Canceled.Error()
	case errors.As(err, &wait) && wait.Timeout():
		return unreachable + ": no answer in time"
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke"
	case errors.As(err, &op):
		return unreachable
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("the driver failed with a %T, whose text may name user and host", err)
		}
		err = next
	}
}

// mysqlCode is how errors of MariaDB begin, with and without an SQLSTATE.
var mysqlCode = regexp.MustCompile(`(?:^|: )Error (\d{4})(?: \(([0-9A-Z]{5})\))?: `)

// codeOf returns the SQLSTATE of err, "" if it has none, and MariaDB's own number.
func codeOf(err error) (code, state string) {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return "", s.SQLState()
	}
	if m := mysqlCode.FindStringSubmatch(err.Error()); m != nil {
		if m[2] == "" {
			m[2] = "HY000"
		}
		return "error " + m[1], m[2]
	}
	return "", ""
}

const (
	noTable  = "there is no such table: CreateTable makes it"
	noLogin  = "the database refused the login: look at user, password, and whence the server lets them in"
	noRight  = "the account lacks the right"
	noRoom   = "the server has no connection left"
	noDB     = "there is no such database or schema"
	readOnly = "the server takes no writes: it is a replica, or set to read only"
	apart    = "the node has lost its cluster, or has not joined it yet"
	full     = "the disk is full"
	busy     = "it was in conflict with another transaction, or waited too long for one"
	waited   = "it waited too long for another transaction, or for the rest of its cluster"
	coming   = "the server is starting or stopping"
	stopped  = "the server stopped the statement"
	locked   = "database is locked by another connection"
)

// meaning says what a code of MariaDB, or else an SQLSTATE or its class, means.
func meaning(code, state string) string {
	for _, s := range []string{code, state, state[:min(2, len(state))]} {
		if m := meanings[s]; m != "" {
			return m
		}
	}
	return "the database refused the statement"
}

var meanings = map[string]string{
	"error 1146": noTable, "42P01": noTable, "42S02": noTable,
	"42703":      "the table lacks a column: it is another one than CreateTable makes",
	"42S22":      "the table lacks a column: it is another one than CreateTable makes",
	"error 1045": noLogin, "error 1698": noLogin, "error 1130": noLogin, "28": noLogin,
	"error 1044": noRight, "error 1142": noRight, "error 1227": noRight, "42501": noRight,
	"error 1040": noRoom, "error 1203": noRoom, "error 1226": noRoom, "53300": noRoom, "08004": noRoom,
	"error 1049": noDB, "3D000": noDB, "3F000": noDB,
	"error 1290": readOnly, "error 1792": readOnly, "error 1836": readOnly, "25006": readOnly,
	"error 1047": apart,
	"error 1021": full, "error 1114": full, "53100": full,
	"error 1205": waited, "error 1213": busy, "40": busy, "55P03": busy,
	"error 1053": coming, "57P01": coming, "57P02": coming, "57P03": coming,
	"error 1317": stopped, "error 3024": stopped, "57014": stopped,
	"08": "the connection broke",
}

// phrases are what drivers say that give no code.
var phrases = []struct{ said, means string }{
	{"no such table", noTable},
	{"no such database", noDB},
	{"database is locked", locked},
	{"database table is locked", locked},
	{"database or disk is full", full},
	{"attempt to write a readonly database", "attempt to write a readonly database: look at the file, at its folder, and whose they are"},
	{"unable to open database", "unable to open database file: look at its folder, and whose they are"},
	{"disk i/o error", "disk I/O error"},
	{"malformed", "database disk image is malformed"},
	{"file is not a database", "file is not a database, or is encrypted with another key"},
	{"x509: ", "the certificate of the server is not accepted"},
	{"invalid connection", "the connection broke"},
	{"bad connection", "the connection broke"},
	{"tls error", "there is no TLS with the server as it is set up"},
	{"tls: ", "there is no TLS with the server as it is set up"},
}
