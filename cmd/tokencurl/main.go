// Command tokencurl makes HTTP requests that never see an expired token: it logs in once,
// keeps the session sealed on this machine, and then takes the flags of curl.
//
//	go install github.com/seed-fbfaa0ec/silentrefresh/cmd/tokencurl@latest
//	tokencurl login --issuer https://auth.example.com --client-id my-cli --origin https://api.example.com
//	tokencurl https://api.example.com/me
//	tokencurl -d name=x -o answer.json https://api.example.com/things
//	tokencurl status
//	tokencurl logout
//
// Any number of processes may use one session at the same time: they share each refresh. A
// token goes only to the origins that the session was logged in for. docs/tokencurl.md has
// the flags, the exit codes, and how git, docker and kubectl get their tokens from it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := untilSignal(context.Background())
	// A reader that leaves is an error of writing, and no reason to drop a refresh. Not by
	// signal.Ignore, which the browser that a login starts would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := run(ctx, calledAs(os.Args), &streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// A signalled error is the cause of a context that a signal ended.
type signalled struct{ signal os.Signal }

func (s signalled) Error() string { return s.signal.String() }

// Is has net/http's errors, which are the cause, still be cancellations.
func (s signalled) Is(target error) bool { return target == context.Canceled }

// code is what a shell makes of a program that the signal ended.
func (s signalled) code() int {
	if number, ok := s.signal.(syscall.Signal); ok && number != syscall.SIGINT {
		return 128 + int(number)
	}
	return exitInterrupted
}

// untilSignal returns a context that ends with the first signal; a SIGINT after it ends the program
// at once. SIGTERM is among them because a shutdown or a timeout(1) in the middle of a refresh
// would be the end of the login, and so is SIGHUP, which a terminal sends that somebody
// closes. A second one of these means no more than the first: timeout(1) signals the process and
// then its group, and so do a shell and the kernel when a terminal is closed. What nohup has the
// program ignore is ignored.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			signal.Reset(os.Interrupt)
			cancel(signalled{s})
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// streams are the files that a command reads and writes. Tests of what a terminal shows
// need a real one, so they are files.
type streams struct{ in, out, err *os.File }

// calledAs are the arguments of a process whose name may say what it is for: docker and git
// look for programs by name, to which they give no argument but the operation.
func calledAs(args []string) []string {
	name := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	for prefix, kind := range map[string]string{"docker-credential-": helperDocker, "git-credential-": helperGit} {
		if strings.HasPrefix(name, prefix) {
			return append([]string{"token", "--exec", kind}, args[1:]...)
		}
	}
	return args[1:]
}

// run returns the exit code.
func run(ctx context.Context, args []string, s *streams) int {
	t := &tool{streams: s, stdin: untilDone{ctx, s.in}, home: home}
	root := t.rootCommand()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	var file *fs.PathError
	switch {
	case errors.As(err, &file) && file.Path == s.out.Name():
		err = &exitError{exitWrite, err} // whoever wrote
	case err != nil && !t.understood:
		err = usage(err)
	}
	code := codeOf(ctx, err)
	if text := message(err); text != "" && !t.quiet {
		fmt.Fprintf(s.err, "tokencurl: (%d) %s\n", code, plain(text))
	}
	return code
}

// A tool is one run of the program.
type tool struct {
	*streams
	stdin io.Reader              // the same as in, but ^C ends a wait for it
	home  func() (string, error) // the folder that has everything
	name  string                 // of the session
	// understood is set once a command runs: errors before that are of the command line.
	understood bool
	quiet      bool // say nothing of an error
}

// untilDone reads from r until the end of ctx.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	type result struct {
		b   []byte
		err error
	}
	read := make(chan result, 1)
	go func() { // a read of a terminal or a pipe cannot be ended: the process ends with it
		b := make([]byte, len(p))
		n, err := u.r.Read(b)
		read <- result{b[:n], err}
	}()
	select {
	case got := <-read:
		return copy(p, got.b), got.err
	case <-u.ctx.Done():
		return 0, u.ctx.Err()
	}
}

// message is what is said of err.
func message(err error) string {
	var e *exitError
	if err == nil || errors.As(err, &e) && e.err == nil {
		return ""
	}
	if errors.Is(err, errLogin) {
		return said(err) + ": run tokencurl login"
	}
	return said(err)
}

// readAll is for what is small: a password, what a helper is asked.
func readAll(r io.Reader) (string, error) {
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return string(b), err
}
