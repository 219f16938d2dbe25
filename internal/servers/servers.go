package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take to answer. It takes a second at most,
// but machines that run tests are slow at times.
const startTimeout = time.Minute

// A Server is a server that runs on this machine. Its methods are for the goroutine
// of its test, which they fail. A Server must not be copied.
type Server struct {
	// Address is where it listens, a host and a port. It stays the same.
	Address string

	// User may do everything and needs no password. It and Database, which
	// exists and is empty, are empty for Redis.
	User, Database string

	tb      testing.TB
	dir     string         // of the data and the log
	account *account       // that its processes run as
	command []string       // that runs it
	kill    syscall.Signal // that ends it, at once
	ready   func() error   // nil once it answers
	cmd     *exec.Cmd      // nil: not running
	ended   chan struct{}  // closed when cmd has ended
}

// newServer returns a Server that has a folder, and a cleanup.
func newServer(tb testing.TB, kill syscall.Signal, a *account) *Server {
	tb.Helper()
	// Not the folder of the test: paths of sockets have to be short, and others
	// than this user have to get there.
	dir, err := os.MkdirTemp("/tmp", "servers-")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{Address: FreeAddress(tb), tb: tb, dir: dir, account: a, kill: kill}
	tb.Cleanup(func() {
		s.Stop()
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if a != nil {
		if err := os.Chown(dir, a.uid, a.gid); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// FreeAddress returns an address that nobody listens at, nor will by accident: its
// host is one of the sixteen million names that a Linux machine has for itself, drawn
// by lot. A port of 127.0.0.1 could go to somebody else, before a server starts or
// while it is stopped.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	host := net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
	l, err := net.Listen("tcp", net.JoinHostPort(host.String(), "0"))
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// freeAddresses returns more addresses of the same host, for a server that listens at several.
func (s *Server) freeAddresses(n int) []string {
	s.tb.Helper()
	var found []string
	host, port := s.hostPort()
	for range n + 1 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			s.tb.Fatal(err)
		}
		defer l.Close() // not before all are found, which differ by that
		found, port = append(found, l.Addr().String()), "0"
	}
	return found[1:]
}

func (s *Server) hostPort() (host, port string) {
	host, port, _ = net.SplitHostPort(s.Address)
	return host, port
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// run runs a command that prepares the server, or asks it something.
func (s *Server) run(timeout time.Duration, command ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.WaitDelay = time.Second
	cmd.Dir = s.dir // an account may not be let into the present one
	cmd.SysProcAttr = attributes(syscall.SIGKILL, s.account)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command[0]), err, bytes.TrimSpace(out))
	}
	return nil
}

// Start starts a server that was stopped, with the data that it had, and returns
// when it answers.
func (s *Server) Start() {
	s.tb.Helper()
	if s.cmd != nil {
		s.tb.Fatal("servers: Start of a server that runs")
	}
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer log.Close() // the server has its own
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = attributes(s.kill, s.account)
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	ended := make(chan struct{})
	s.cmd, s.ended = cmd, ended
	go func() { // ends with the process, which Stop sees to
		defer close(ended)
		_ = cmd.Wait()
	}()
	if err := s.waitReady(); err != nil {
		text, _ := os.ReadFile(s.path("log"))
		s.tb.Fatalf("servers: %s on %s: %v; the end of its log:\n%s",
			filepath.Base(s.command[0]), s.Address, err, text[max(0, len(text)-4000):])
	}
}

func (s *Server) waitReady() error {
	timeout := time.After(startTimeout)
	for {
		err := s.ready()
		select {
		case <-s.ended: // first of all: who answered may be another server
			return errors.New("it ended")
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
		case <-timeout:
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop cuts the server off in the middle of whatever it does, frozen or not. What
// it answered to before is kept: these servers write before they answer, and what is
// written to a file outlives the process. Stop of a server that does not run does
// nothing.
func (s *Server) Stop() {
	s.tb.Helper()
	if s.cmd == nil {
		return
	}
	processes := family(s.cmd.Process.Pid)
	signal(processes, s.kill)
	signal(processes, syscall.Signal(sigCONT)) // the other signal comes first
	select {
	case <-s.ended:
	case <-time.After(startTimeout):
		signal(family(s.cmd.Process.Pid), syscall.SIGKILL)
		<-s.ended
		s.tb.Errorf("servers: %s did not end for %v", s.command[0], startTimeout)
	}
	s.cmd = nil
}

// Freeze stops the server's processes as SIGSTOP does, and returns when they stand
// still: connections stay open and are made, and nothing answers.
func (s *Server) Freeze() {
	s.tb.Helper()
	s.mustRun("Freeze")
	if err := freeze(s.cmd.Process.Pid); err != nil {
		s.tb.Fatal(err)
	}
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	s.tb.Helper()
	s.mustRun("Thaw")
	signal(family(s.cmd.Process.Pid), syscall.Signal(sigCONT))
}

func (s *Server) mustRun(op string) {
	s.tb.Helper()
	if s.cmd == nil {
		s.tb.Fatalf("servers: %s of a server that does not run", op)
	}
}

// program returns the path of a program, or skips the test. Those in sbin are for
// everybody, though not in everybody's PATH.
func program(tb testing.TB, name, debianPackage string, folders ...string) string {
	tb.Helper()
	if !supported {
		tb.Skip("servers: private servers run on Linux only, where they end with the test's process")
	}
	for _, folder := range append(folders, "/usr/sbin") {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Skipf("servers: the program %s is missing: install the Debian package %s", name, debianPackage)
	}
	return path
}
