package servers_test

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestReadme: what CONTRIBUTING.md says of tests without their program is so. They are skipped,
// which only -v shows; the message names the Debian package; and that page and .ci/run
// name the same packages.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Join(strings.Fields(string(b)), " ")
	for _, want := range []string{
		"Without the program they are skipped, and `go test` says `ok` all the same: only with `-v` does it print what was skipped, and why.",
		"go test -v ./internal/servers ./store/keyring ./internal/interop/browser ./cmd/tokencurl | grep Debian",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("CONTRIBUTING.md does not say %q, which this test is about", want)
		}
	}

	_, named, _ := strings.Cut(page, "from Debian's packages ")
	named, _, _ = strings.Cut(named, ". ")
	packages := strings.FieldsFunc(named, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-`", r) })
	packages = slices.DeleteFunc(packages, func(s string) bool { return !strings.HasPrefix(s, "`") })
	for i := range packages {
		packages[i] = strings.Trim(packages[i], "`")
	}
	slices.Sort(packages)
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	installed := regexp.MustCompile(`(?m)^PACKAGES="(.*)"`).FindSubmatch(script)
	if installed == nil || !slices.Equal(packages, strings.Fields(string(installed[1]))) {
		t.Errorf("CONTRIBUTING.md names %q, .ci/run installs %q", packages, installed)
	}
}

func TestSkipNamesPackage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no servers run here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), self, append(args, "-test.run=^TestRedis$")...)
		cmd.Env = append(os.Environ(), "PATH="+t.TempDir()) // where nothing is installed
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v without the program: %v\n%s", args, err, out)
		}
		return string(out)
	}
	const message, skipped = "install the Debian package redis-server", "--- SKIP: TestRedis"
	if out := run("-test.v"); !strings.Contains(out, message) || !strings.Contains(out, skipped) {
		t.Errorf("with -v it does not say what was skipped, or why:\n%s", out)
	}
	if out := run(); strings.Contains(out, "SKIP") || !strings.HasPrefix(out, "PASS") {
		t.Errorf("without -v it says more than CONTRIBUTING.md has it:\n%s", out)
	}
}
