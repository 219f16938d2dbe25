package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSkipsAreSeen: what .ci/run searches a log of go test -v for finds a skipped test and a
// skipped subtest, also behind output that did not end its line.
func TestSkipsAreSeen(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(repository, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	search := regexp.MustCompile(`if (grep .* '.*SKIP.*') "\$tmp/test\.log"; then fail`).FindSubmatch(script)
	if search == nil {
		t.Fatal(".ci/run searches for no skipped test")
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash here")
	}
	for log, found := range map[string]bool{
		"=== RUN   TestX\n--- PASS: TestX (0.00s)\nPASS\n":                                                                                          false,
		"=== RUN   TestX\n    x_test.go:4: no server\n--- SKIP: TestX (0.00s)\nPASS\n":                                                              true,
		"=== RUN   TestX\n=== RUN   TestX/a/b\n--- PASS: TestX (0.00s)\n    --- PASS: TestX/a (0.00s)\n        --- SKIP: TestX/a/b (0.00s)\nPASS\n": true,
		"=== RUN   TestX\nlistening on --- SKIP: TestX (0.00s)\nPASS\n":                                                                             true,
		"=== RUN   TestX\n\x00\xff\n--- SKIP: TestX (0.00s)\nPASS\n":                                                                                true,
	} {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", string(search[1]))
		cmd.Stdin = strings.NewReader(log)
		out, err := cmd.CombinedOutput()
		if (err == nil) != found || found != strings.Contains(string(out), "--- SKIP: TestX") {
			t.Errorf("%q: %v, found %q", log, err, out)
		}
	}
}

// TestTasks: the Makefile has each step of .ci/run but the first, and the pages for people
// name no other step, and no other task.
func TestTasks(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	makefile, steps := read("Makefile"), map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^step_(\w+)\(\)`).FindAllStringSubmatch(read(".ci/run"), -1) {
		steps[m[1]] = true
	}
	line := regexp.MustCompile(`(?m)^([a-z ]+):.*\n\t\.ci/run \$@$`).FindStringSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile calls no step")
	}
	targets := map[string]bool{}
	for name := range strings.FieldsSeq(line[1]) {
		targets[name] = true
	}
	for name := range steps {
		if name != "install" && !targets[name] {
			t.Errorf("the Makefile lacks the step %s", name)
		}
	}
	tasks := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z ]+):`).FindAllStringSubmatch(makefile, -1) {
		for name := range strings.FieldsSeq(m[1]) {
			tasks[name] = true
		}
	}
	for _, page := range []string{"README.md", "CONTRIBUTING.md", ".github/workflows/ci.yml"} {
		text := read(page)
		for _, m := range regexp.MustCompile("(?m)(?:`|run: )\\.ci/run ([a-z ]+)(?:`|$)").FindAllStringSubmatch(text, -1) {
			for name := range strings.FieldsSeq(m[1]) {
				if !steps[name] {
					t.Errorf("%s names the step %s, which is nowhere", page, name)
				}
			}
		}
		for _, m := range regexp.MustCompile("`make ([a-z]+)").FindAllStringSubmatch(text, -1) {
			if !tasks[m[1]] {
				t.Errorf("%s names the task %s, which is nowhere", page, m[1])
			}
		}
	}
}

// TestFuzzTargets: no fuzz target is forgotten: .ci/run finds all that there are, and the workflow
// has the list from there.
func TestFuzzTargets(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash here")
	}
	cmd := exec.CommandContext(t.Context(), "bash", ".ci/run", "targets")
	cmd.Dir = repository
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile(`(?m)^\S+\.Fuzz\w+$`).FindAllString(string(out), -1)
	slices.Sort(listed)
	if declared := fuzzTargets(t); !slices.Equal(listed, declared) || len(declared) == 0 {
		t.Errorf(".ci/run targets: %q\nthere are:       %q", listed, declared)
	}
	workflow, err := os.ReadFile(filepath.Join(repository, ".github", "workflows", "ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"names=$(.ci/run targets | ", "target: ${{ fromJSON(needs.targets.outputs.names) }}", "FUZZ: ^${{ matrix.target }}$", "run: .ci/run fuzz\n"} {
		if !strings.Contains(string(workflow), part) {
			t.Errorf("ci.yml lacks %q", part)
		}
	}
}

// fuzzTargets returns those of all test files, wherever they are, as .ci/run names them.
func fuzzTargets(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(repository, filepath.Dir(path))
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				names = append(names, filepath.ToSlash(dir)+"."+f.Name.Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// TestSchedules: each job that runs by the clock names a time at which the workflow does, and
// each time has a job.
func TestSchedules(t *testing.T) {
	workflow, err := os.ReadFile(filepath.Join(repository, ".github", "workflows", "ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string) (times []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(workflow), -1) {
			times = append(times, m[1])
		}
		slices.Sort(times)
		return slices.Compact(times)
	}
	if set, used := find(`- cron: "(.*?)"`), find(`github\.event\.schedule == '(.*?)'`); !slices.Equal(set, used) || len(set) == 0 {
		t.Errorf("the workflow runs at %q, its jobs at %q", set, used)
	}
}
