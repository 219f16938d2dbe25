package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
