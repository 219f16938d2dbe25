package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
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
	envRoot    = "MUTATION_ROOT"    // in which that is, unchanged
	envTemp    = "MUTATION_TEMP"    // where temporary files go
)

// What the go command says if there is nothing to run, a test binary whose time is up, and
// how long one took that passed.
var (
	buildFailed = regexp.MustCompile(`(?m)\[(build|setup) failed\]$`)
	timedOut    = []byte("panic: test timed out after ")
	passed      = regexp.MustCompile(`(?m)^ok\s+\S+\s+(\d+\.\d+s)`)
)

// What becomes of a mutant, by the exit status that gremlins knows.
const (
	survived = 0
	killed   = 1
	notBuilt = 2
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
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	return append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"),
		envGo+"="+goCommand, envPackage+"="+pkg, envRoot+"="+root, envTemp+"="+os.TempDir()), nil
}

// standIn is the go command for gremlins. The first go test, which asks for coverage, passes if
// the tests pass as they are, and says that they cover all that is to be tried. Those after it
// say what has become of the mutant.
func standIn(ctx context.Context, args []string) int {
	if len(args) == 0 || args[0] != "test" {
		return 0 // go mod download
	}
	pkg := os.Getenv(envPackage)
	if i := slices.Index(args, "-coverprofile"); i >= 0 {
		return coverAll(ctx, pkg, args[i+1])
	}
	p := plans[pkg]
	verdict := try(ctx, p, ".")
	for _, tests := range p.also {
		if verdict == survived {
			verdict = try(ctx, p, tests)
		}
	}
	return verdict
}

// try runs tests on the mutant. If they hang, they are run again with a patience that goes by
// how long they take just then on the code as it is.
func try(ctx context.Context, p plan, tests string) int {
	limit := p.firstPatience()
	out, err := goTest(ctx, p, "", tests, limit)
	if err != nil && bytes.Contains(out, timedOut) {
		unchanged := filepath.Join(os.Getenv(envRoot), filepath.FromSlash(os.Getenv(envPackage)))
		asItIs, _ := goTest(ctx, p, unchanged, tests, 10*limit)
		took := duration(asItIs, limit)
		if bytes.Contains(asItIs, timedOut) {
			took = 10 * limit
		}
		out, err = goTest(ctx, p, "", tests, max(2*limit, 3*took))
	}
	switch {
	case err == nil:
		return survived
	case buildFailed.Match(out):
		return notBuilt
	}
	return killed
}

// duration returns how long tests took that passed, by the output of go test.
func duration(out []byte, otherwise time.Duration) time.Duration {
	if m := passed.FindSubmatch(out); m != nil {
		if d, err := time.ParseDuration(string(m[1])); err == nil {
			return d
		}
	}
	return otherwise
}

// goTest runs tests that are beside the package in dir, or in the working directory. A mutant
// may ask for memory without an end. Without paths in the code, and without what debuggers
// need, the go command finds more of it built, and has less to link.
func goTest(ctx context.Context, p plan, dir, tests string, limit time.Duration) ([]byte, error) {
	const bounded = `ulimit -v 4000000 2>/dev/null; exec "$@"`
	args := []string{"-c", bounded, "sh", os.Getenv(envGo), "test", "-short", "-count=1", "-failfast", "-vet=off",
		"-trimpath", "-ldflags=-w", "-timeout", limit.String(), tests}
	if tests == "." {
		args = append(args, p.flags...)
	}
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+os.Getenv(envTemp))
	return cmd.CombinedOutput()
}

// coverAll tests the package, and writes a profile in which all of its lines are covered that
// the plan tries.
func coverAll(ctx context.Context, pkg, profile string) int {
	if err := os.Chdir(filepath.FromSlash(pkg)); err != nil {
		return 1
	}
	p := plans[pkg]
	for _, tests := range append([]string{"."}, p.also...) {
		if out, err := goTest(ctx, p, "", tests, 10*p.firstPatience()); err != nil {
			fmt.Printf("the tests fail as they are: %s\n", out)
			return 1
		}
	}
	files, err := exec.CommandContext(ctx, os.Getenv(envGo), "list", "-f", `{{range .GoFiles}}{{$.ImportPath}}/{{.}}{{"\n"}}{{end}}`).Output()
	if err != nil {
		return 1
	}
	var text strings.Builder
	text.WriteString("mode: set\n")
	for file := range strings.FieldsSeq(string(files)) {
		src, err := readSource(path.Base(file))
		if err != nil {
			return 1
		}
		for i, line := range src.lines {
			if p.tries(path.Join(pkg, src.name), src.functions[i], strings.TrimSpace(line)) {
				fmt.Fprintf(&text, "%s:%d.1,%d.9999 1 1\n", file, i+1, i+1)
			}
		}
	}
	if err := os.WriteFile(profile, []byte(text.String()), 0o600); err != nil {
		return 1
	}
	return 0
}
