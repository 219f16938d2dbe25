// Package exampletest is the rig of the examples' tests. An example is a command that
// anybody can run without setting anything up: it brings its own server, tells on its
// standard output what happens, step by step, and exits with 0 if that is what came true
// at the server. So its test is the same for all: run it and read the story.
//
// [Story.Test] runs the example twice, as a function of the test's own process, which
// coverage and the race detector see, and as the program that a newcomer builds; and once
// more with a context that is over, which must end it at once. Each time the lines of the
// Story must have been printed, in their order, and no token. An example that has more to
// it than a story, commands or an endless run, is tested with the same parts: [Build]
// makes the program, [Story.Check] reads what it printed.
//
// No test sets a time limit. An example that takes long is slow, as a busy machine is; how
// often it asked the server, and what for, is checked by the example itself, from the
// server's counters.
//
// The package knows nothing of tokens but how they begin.
package exampletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Story is what an example prints.
type Story struct {
	// Lines are parts of what is printed, in their order.
	Lines []string

	// Secrets are what must not be printed, beside JWTs.
	Secrets []string

	// Alone is set for an example that measures the machine: nothing runs beside it.
	Alone bool
}

// Test tests the example in the present folder, whose main function hands its standard
// output to run.
func (s Story) Test(t *testing.T, run func(context.Context, io.Writer) error) {
	if !s.Alone {
		t.Parallel()
	}
	t.Run("function", func(t *testing.T) {
		if !s.Alone {
			t.Parallel()
		}
		var out strings.Builder
		s.want(t, &out, run(t.Context(), &out))
	})
	t.Run("program", func(t *testing.T) {
		if !s.Alone {
			t.Parallel()
		}
		var out strings.Builder
		cmd := exec.CommandContext(t.Context(), Build(t))
		cmd.Stdout, cmd.Stderr = &out, &out
		s.want(t, &out, cmd.Run())
	})
	t.Run("stops", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := run(ctx, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that is over it ended with %v", err)
		}
	})
}

func (s Story) want(t testing.TB, out fmt.Stringer, err error) {
	t.Helper()
	if err == nil {
		err = s.Check(out.String())
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Check returns an error if a line is missing from what was printed, or comes in the
// wrong place, or if there is a secret in it.
func (s Story) Check(printed string) error {
	rest := printed
	for _, line := range s.Lines {
		_, after, found := strings.Cut(rest, line)
		if !found {
			return fmt.Errorf("no %q, or not in its place", line)
		}
		rest = after
	}
	if HoldsSecret(printed, s.Secrets...) {
		return errors.New("there is a secret in it")
	}
	return nil
}

// HoldsSecret reports whether text holds one of the secrets, or a JWT: all of them begin
// alike.
func HoldsSecret(text string, secrets ...string) bool {
	return strings.Contains(text, "eyJ") ||
		slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) })
}

// Build builds the example in the present folder and returns the path of the program.
func Build(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "example.exe") // a name that runs everywhere
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}
