// Package storytest tests the examples, which are programs that tell a story: they print
// what a user and a server do, and what came of it, line by line. A line that matters
// must be there, and in its place; a secret must not be there at all. Each example is
// tried in the test's own process, as a program of its own, and with a context that has
// ended, which must stop it.
//
// Stories go by the real clock, with tokens that live for some seconds. A machine that
// is busy with something else tells another story: a token expires while its holder has
// no turn. So while a story is told, a timer runs beside it. If the timer is late the
// machine was slow, a story that went wrong meanwhile counts for nothing, and is told
// again. One that goes wrong time and again, or on a machine that kept its time, is a
// failure.
//
// What a program printed is also what docs/examples.md shows, and its first line came within
// two seconds of its start.
//
// The package does not know what the stories are about. How the library behaves at an
// expiry to the millisecond is the matter of its own tests, whose clock is not real.
package storytest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Story is an example and what it has to say.
type Story struct {
	// Run is the example without its main. It must stop when its context ends.
	Run func(context.Context, io.Writer) error

	// Lines are parts of the output, in this order.
	Lines []string

	// Secrets must be nowhere in it.
	Secrets []string

	// Varies are regular expressions, whose ^ and $ are the ends of lines, for what is not
	// the same each time beside ports: docs/examples.md shows the output but for these.
	Varies []string

	// Sleeps says that the example waits most of the time, so that it can be tried in
	// both ways at once.
	Sleeps bool

	page string // a test's, in the place of docs/examples.md
}

// Test tests the example in the current folder, which is that of its package.
func (s Story) Test(t *testing.T) {
	t.Run("in this process", func(t *testing.T) {
		if s.Sleeps {
			t.Parallel()
		}
		s.told(t, func() (string, error) {
			var out strings.Builder
			err := s.Run(t.Context(), &out)
			return out.String(), err
		})
	})
	t.Run("as a program", func(t *testing.T) {
		if s.Sleeps {
			t.Parallel()
		}
		program := Build(t)
		var printed string
		s.told(t, func() (string, error) {
			out := watched{began: time.Now()}
			command := exec.CommandContext(t.Context(), program)
			command.Stdout, command.Stderr = &out, &out
			err := command.Run()
			printed = out.text.String()
			if err == nil && out.first > soon {
				err = fmt.Errorf("its first line came after %v, later than %v", out.first, soon)
			}
			return printed, err
		})
		shown(t, cmp.Or(s.page, examplesPage), printed, s.Varies)
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// soon is when a program has printed something that its user can read, from its start.
const soon = 2 * time.Second

// watched is an output that knows when its first line was over.
type watched struct {
	began time.Time
	text  strings.Builder
	first time.Duration // 0: not yet
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	if w.first == 0 && strings.Contains(strings.TrimLeft(w.text.String(), "\n"), "\n") {
		w.first = time.Since(w.began)
	}
	return n, err
}

// Build builds the program of the example in the current folder, and returns its path. It
// is for what an example has beside a story: commands, exit statuses, signals.
func Build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "example.exe") // a name that runs everywhere
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// told fails the test unless the story is told.
func (s Story) told(t *testing.T, tell func() (out string, err error)) {
	t.Helper()
	if err := s.fairly(tell, newWatch, t.Logf); err != nil {
		t.Fatal(err)
	}
}

const (
	mostTries = 5

	// tooLate is how late a timer is on a slow machine.
	tooLate = 100 * time.Millisecond
)

// fairly calls tell, again if the story goes wrong while the machine is slow. Each
// call gets a watch, which returns how late a timer was at most.
func (s Story) fairly(tell func() (out string, err error), watch func() func() time.Duration, logf func(string, ...any)) error {
	for try := 1; ; try++ {
		end := watch()
		out, err := tell()
		late := end()
		if err == nil {
			err = s.check(out)
		}
		if err == nil {
			return nil
		}
		if late < tooLate || try == mostTries {
			return fmt.Errorf("%w, in\n%s", err, out)
		}
		logf("told again, since the machine was late by %v: %v", late, err)
	}
}

// check reports what is missing from out, comes in the wrong place, or is a secret.
func (s Story) check(out string) error {
	for _, secret := range s.Secrets {
		if strings.Contains(out, secret) {
			return errors.New("there is a secret")
		}
	}
	rest := out
	for _, line := range s.Lines {
		_, after, found := strings.Cut(rest, line)
		if !found {
			return fmt.Errorf("no %q, or not in its place", line)
		}
		rest = after
	}
	return nil
}

// newWatch begins to look how late a timer is. end ends that, and returns the most.
func newWatch() (end func() time.Duration) {
	const pause = 10 * time.Millisecond
	stop, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		var late time.Duration
		for timer := time.NewTimer(pause); ; timer.Reset(pause) {
			began := time.Now()
			select {
			case <-timer.C:
				late = max(late, time.Since(began)-pause)
			case <-stop:
				timer.Stop()
				most <- late
				return
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-most
	}
}
