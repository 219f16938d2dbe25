package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// install gets a program by the README's command, and uses it for one login and one call.
func (c *consumer) install(ctx context.Context, m *module) error {
	readme, err := c.tree.read("README.md")
	if err != nil {
		return err
	}
	if !strings.Contains(string(readme), "\n    go install "+m.path+"@latest\n") {
		return fmt.Errorf("README.md has no line that installs it")
	}
	for _, args := range [][]string{{"mod", "download", m.path + "@" + c.version}, {"install", m.path + "@" + c.version}} { // as in get
		if _, err := c.goRun(ctx, c.tmp, args...); err != nil {
			return err
		}
	}
	program := filepath.Join(c.tmp, "bin", path.Base(m.path))
	linked, err := c.goRun(ctx, c.tmp, "version", "-m", program)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%-24s %-12s %8s %8s %8d\n", m.dir, c.version, "-", "-", strings.Count(linked, "\tdep\t"))
	api, stop, err := c.startMock(ctx)
	if err != nil {
		return err
	}
	defer stop()
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), "TOKENCURL_HOME="+filepath.Join(c.tmp, "home"))
		cmd.Stdin = strings.NewReader("secret\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("login", "--login-url", api+"/login", "--refresh-url", api+"/token/refresh", "--user", "alice", "--password-stdin")
	if err == nil {
		out, err = run("-f", "/api/me")
	}
	if err != nil || !strings.Contains(out, "alice") {
		return fmt.Errorf("a login and a call: %w: %s", err, out)
	}
	fmt.Fprintln(c.out, "\ta login and a call against mockserver: ok")
	return nil
}

// mockserver is where the core's part of the run builds it.
func (c *consumer) mockserver() string { return filepath.Join(c.tmp, "mockserver") }

// startMock starts the mockserver, and returns its URL.
func (c *consumer) startMock(ctx context.Context) (api string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	server := exec.CommandContext(ctx, c.mockserver(), "-addr", "127.0.0.1:0")
	stdout, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		cancel()
		return "", nil, err
	}
	stop = func() { cancel(); _ = server.Wait() }
	lines := bufio.NewReader(stdout)
	for api == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			stop()
			return "", nil, fmt.Errorf("mockserver printed no URL: %w", err)
		}
		api = listening.FindString(line)
	}
	return api, stop, nil
}
