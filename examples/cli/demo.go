package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const lifetime = 2 * time.Second // of access tokens in the demo

// demo plays a day with this program against a server of its own. Each command is
// another process.
func demo(ctx context.Context, stdout io.Writer) (err error) {
	server, err := tokentest.Start(nil, &tokentest.Options{
		AccessLifetime: lifetime,
		Latency:        300 * time.Millisecond, // time enough for two processes to meet
	})
	if err != nil {
		return err
	}
	defer server.Close()
	server.AddUser("alice", "secret")

	dir, err := os.MkdirTemp("", "cli-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s := &stage{server: server, self: self, flags: []string{"-api", server.URL, "-user", "alice", "-dir", dir}, stdout: stdout}
	s.say("A server whose access tokens live for %v. All commands use the flags\n%s", lifetime, strings.Join(s.flags, " "))
	if err := s.logIn(ctx); err != nil {
		return err
	}
	if err := s.tokenExpires(ctx); err != nil {
		return err
	}
	return s.logOut(ctx)
}

type stage struct {
	server *tokentest.Server
	self   string   // this program
	flags  []string // of every command
	stdout io.Writer
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.stdout, "\n"+format+"\n", args...)
}

func (s *stage) logIn(ctx context.Context) error {
	s.say("Nobody has logged in yet:")
	if err := s.play(ctx, exitLogin, "get /api/orders"); err != nil {
		return err
	}
	s.say("Log in. The password comes from %s here:", passwordVariable)
	if err := s.play(ctx, exitOK, "login"); err != nil {
		return err
	}
	s.say("Another process, the same login:")
	return s.play(ctx, exitOK, "get /api/orders")
}

func (s *stage) tokenExpires(ctx context.Context) error {
	s.say("Waiting until the access token has expired ...")
	select {
	case <-time.After(lifetime): // since the last command, whatever token that left
	case <-ctx.Done():
		return ctx.Err()
	}
	s.server.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Hour })
	if err := s.play(ctx, exitOK, "status"); err != nil {
		return err
	}
	s.say("Two processes at the same time, both with the expired token:")
	before := s.server.Counters()
	if err := s.play(ctx, exitOK, "get /api/orders", "get /api/invoices"); err != nil {
		return err
	}
	after := s.server.Counters()
	if n := after.Refreshes - before.Refreshes; n != 1 || after.Unauthorized != 0 {
		return fmt.Errorf("not as told: want 1 refresh and no 401, there were %d and %d", n, after.Unauthorized)
	}
	s.say("The server counted one refresh: one process did it, the other took the result.")
	return s.play(ctx, exitOK, "status")
}

func (s *stage) logOut(ctx context.Context) error {
	s.say("Log out. The server is told to revoke the login:")
	if err := s.play(ctx, exitOK, "logout"); err != nil {
		return err
	}
	if err := s.play(ctx, exitLogin, "get /api/orders"); err != nil {
		return err
	}
	c := s.server.Counters()
	if c.Logins != 1 || c.Reuses != 0 || c.Requests != 3 || c.Unauthorized != 0 || c.Revocations == 0 {
		return fmt.Errorf("not as told: the server counted %+v", c)
	}
	s.say("All as told. The server counted: logins %d, refreshes %d, reuses %d, requests %d, 401s %d, revocations %d.",
		c.Logins, c.Refreshes, c.Reuses, c.Requests, c.Unauthorized, c.Revocations)
	return nil
}

// play runs commands at the same time, shows what they print, and checks their
// exit statuses.
func (s *stage) play(ctx context.Context, want int, commands ...string) error {
	outputs := make([]bytes.Buffer, len(commands))
	running := make([]*exec.Cmd, len(commands))
	errs := make([]error, len(commands))
	for i, command := range commands {
		cmd := exec.CommandContext(ctx, s.self, slices.Concat(s.flags, strings.Fields(command))...)
		cmd.Env = append(os.Environ(), passwordVariable+"=secret")
		cmd.Stdout, cmd.Stderr = &outputs[i], &outputs[i]
		running[i], errs[i] = cmd, cmd.Start()
	}
	for i, cmd := range running {
		if errs[i] != nil {
			continue
		}
		errs[i] = cmd.Wait()
		if _, exited := errors.AsType[*exec.ExitError](errs[i]); exited {
			errs[i] = nil // the status is judged below
		}
		code := cmd.ProcessState.ExitCode()
		fmt.Fprintf(s.stdout, "  $ cli %s\n", commands[i])
		for line := range strings.Lines(outputs[i].String()) {
			fmt.Fprintf(s.stdout, "    %s\n", strings.TrimSpace(line))
		}
		if code != exitOK {
			fmt.Fprintf(s.stdout, "    (exit status %d)\n", code)
		}
		if code != want {
			errs[i] = errors.Join(errs[i], fmt.Errorf("not as told: cli %s ended with status %d, not %d", commands[i], code, want))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // which is why they were killed
	}
	return errors.Join(errs...)
}
