package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What the stand-in has to know, as environment variables.
const (
	envGo      = "MUTATION_GO"      // the go command
	envPackage = "MUTATION_PACKAGE" // the folder that is mutated
)

// patience is how long the tests of a mutant may take, at first.
const patience = 10 * time.Second

// What the go command says if there is nothing to run, and a test binary whose time is up.
var (
	notBuilt = regexp.MustCompile(`(?m)\[(build|setup) failed\]$`)
	timedOut = []byte("panic: test timed out after ")
)

// standInEnv puts this command under the go command's name into a folder, and returns
// the environment in which it is found there first.
func standInEnv(dir, pkg string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(self, filepath.Join(dir, filepath.Base(goCommand))); err != nil {
		return nil, err
	}
	return append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"),
		envGo+"="+goCommand, envPackage+"="+pkg), nil
}

// standIn is the go command for gremlins. The first go test, which asks for coverage, passes if
// the tests pass as they are, and says that they cover all: each mutant is to be tried.
// Those after it say what has become of the mutant, by the exit status that gremlins knows: 0
// for one that survived, 1 for one that was killed, 2 for one that does not compile.
func standIn(ctx context.Context, args []string) int {
	if len(args) == 0 || args[0] != "test" {
		return 0 // go mod download
	}
	if i := slices.Index(args, "-coverprofile"); i >= 0 {
		return coverAll(ctx, args[i+1])
	}
	for _, limit := range []time.Duration{patience, 2 * patience} {
		out, err := goTest(ctx, limit)
		switch {
		case err == nil:
			return 0
		case notBuilt.Match(out):
			return 2
		case !strings.Contains(string(out), string(timedOut)):
			return 1
		}
	}
	return 1
}

// goTest runs the tests of the package. A mutant may ask for memory without an end.
func goTest(ctx context.Context, limit time.Duration) ([]byte, error) {
	const bounded = `ulimit -v 4000000 2>/dev/null; exec "$@"`
	cmd := exec.CommandContext(ctx, "sh", "-c", bounded, "sh", os.Getenv(envGo), "test", "-short", "-count=1", "-failfast", "-vet=off",
		"-timeout", limit.String(), ".")
	return cmd.CombinedOutput()
}

// coverAll tests the package, and writes a profile in which all of its files are covered.
func coverAll(ctx context.Context, profile string) int {
	if err := os.Chdir(filepath.FromSlash(os.Getenv(envPackage))); err != nil {
		return 1
	}
	if out, err := goTest(ctx, 10*patience); err != nil {
		fmt.Printf("the tests fail as they are: %s\n", out)
		return 1
	}
	files, err := exec.CommandContext(ctx, os.Getenv(envGo), "list", "-f", `{{range .GoFiles}}{{$.ImportPath}}/{{.}}{{"\n"}}{{end}}`).Output()
	if err != nil {
		return 1
	}
	var text strings.Builder
	text.WriteString("mode: set\n")
	for file := range strings.FieldsSeq(string(files)) {
		fmt.Fprintf(&text, "%s:1.1,999999.999 1 1\n", file)
	}
	if err := os.WriteFile(profile, []byte(text.String()), 0o600); err != nil {
		return 1
	}
	return 0
}
