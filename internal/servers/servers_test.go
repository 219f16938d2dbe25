package servers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
)

// ask sends a line to a Redis and returns the line that it answers with.
func ask(t *testing.T, address, line string, timeout time.Duration) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func TestRedis(t *testing.T) {
	s := servers.Redis(t)
	if got, err := ask(t, s.Address, "SET a 1", time.Minute); got != "+OK" {
		t.Fatal(got, err)
	}
	s.Freeze()
	if got, err := ask(t, s.Address, "INCR a", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("frozen, it answered", got, err)
	}
	s.Thaw()
	for range 2 {
		s.Stop()
		if got, err := ask(t, s.Address, "PING", time.Minute); err == nil {
			t.Fatal("stopped, it answered", got)
		}
		s.Start()
		// The INCR of the connection that was given up may have come to pass.
		if got, err := ask(t, s.Address, "SETRANGE a 2 x", time.Minute); got != ":3" {
			t.Fatal(got, err)
		}
	}
}

func TestSentinel(t *testing.T) {
	if got, err := ask(t, servers.Sentinel(t).Address, "SENTINEL MYID", time.Minute); !strings.HasPrefix(got, "$40") {
		t.Fatal(got, err)
	}
}

// query runs an SQL statement with a program of the server's own.
func query(t *testing.T, timeout time.Duration, statement string, program ...string) (string, error) {
	t.Helper()
	if paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program[0]); len(paths) > 0 {
		program[0] = paths[0]
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program[0], program[1:]...)
	cmd.Stdin = strings.NewReader(statement)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	} else if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// testSQL checks that what was committed outlives the server.
func testSQL(t *testing.T, s *servers.Server, sql func(timeout time.Duration, statement string) (string, error)) {
	t.Helper()
	must := func(statement, want string) {
		t.Helper()
		if got, err := sql(time.Minute, statement); err != nil || got != want {
			t.Fatalf("%s: %q, not %q: %v", statement, got, want, err)
		}
	}
	must("CREATE TABLE a (b int);", "")
	must("INSERT INTO a VALUES (7);", "")
	s.Freeze()
	if got, err := sql(200*time.Millisecond, "SELECT 1;"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("frozen, it answered", got, err)
	}
	s.Thaw()
	must("SELECT b FROM a;", "7")
	s.Freeze()
	s.Stop()
	if got, err := sql(time.Minute, "SELECT 1;"); err == nil {
		t.Fatal("stopped, it answered", got)
	}
	s.Start()
	must("SELECT b FROM a;", "7")
}

func TestPostgreSQL(t *testing.T) {
	s := servers.PostgreSQL(t)
	host, port, _ := net.SplitHostPort(s.Address)
	testSQL(t, s, func(timeout time.Duration, statement string) (string, error) {
		return query(t, timeout, statement, "psql", "-X", "-q", "-t", "-A", "-h", host, "-p", port, "-U", s.User, s.Database)
	})
}

func TestPgBouncer(t *testing.T) {
	s := servers.PgBouncer(t, servers.PostgreSQL(t), 2)
	host, port, _ := net.SplitHostPort(s.Address)
	if got, err := query(t, time.Minute, "SELECT 7;", "psql", "-X", "-q", "-t", "-A", "-h", host, "-p", port, "-U", s.User, s.Database); err != nil || got != "7" {
		t.Fatalf("%q, %v", got, err)
	}
}

// Each connection of PostgreSQL is a process in a session of its own.
func TestPostgreSQLFreezesConnections(t *testing.T) {
	s := servers.PostgreSQL(t)
	host, port, _ := net.SplitHostPort(s.Address)
	psql := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-t", "-A", "-h", host, "-p", port, "-U", s.User, s.Database)
	in, err := psql.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	psql.Stdout = answers
	if err := psql.Start(); err != nil {
		t.Fatal(err)
	}
	_ = answers.Close()
	ask := func(timeout time.Duration) error {
		_ = out.SetReadDeadline(time.Now().Add(timeout))
		_, err := out.Read(make([]byte, 10))
		return err
	}
	send := func() {
		if _, err := io.WriteString(in, "SELECT 7;\n"); err != nil {
			t.Fatal(err)
		}
	}
	send()
	if err := ask(time.Minute); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	send()
	if err := ask(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("frozen, it answered a connection that was open:", err)
	}
	s.Thaw()
	if err := ask(time.Minute); err != nil {
		t.Error(err)
	}
	_ = in.Close()
	if err := psql.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMariaDB(t *testing.T) {
	s := servers.MariaDB(t)
	host, port, _ := net.SplitHostPort(s.Address)
	testSQL(t, s, func(timeout time.Duration, statement string) (string, error) {
		return query(t, timeout, statement, "mariadb", "--no-defaults", "-N", "-h", host, "-P", port, "-u", s.User, s.Database)
	})
}

// Clusters of more nodes are at work in internal/interop.
func TestGalera(t *testing.T) {
	s := servers.Galera(t, 1)[0]
	host, port, _ := net.SplitHostPort(s.Address)
	got, err := query(t, time.Minute, "SHOW STATUS LIKE 'wsrep_local_state_comment';", "mariadb", "--no-defaults", "-N", "-h", host, "-P", port, "-u", s.User, s.Database)
	if err != nil || got != "wsrep_local_state_comment\tSynced" {
		t.Fatalf("%q, %v", got, err)
	}
}
