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
