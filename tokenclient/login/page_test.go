package login_test

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// TestProgram runs the program of the README: it logs in at its first start, and not at its
// second.
func TestProgram(t *testing.T) {
	r := newRig(t, nil)
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	t.Setenv("WSL_DISTRO_NAME", "")
	tokens := new(store.Memory)
	stderr := captureStderr(t)
	done := make(chan error, 1)
	go func() { done <- program(t.Context(), r.URL, r.URL, tokens) }()
	if _, err := fetch(stderr.address()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := program(t.Context(), r.URL, r.URL, tokens); err != nil || r.Counters().Logins != 1 {
		t.Errorf("%v after %d logins", err, r.Counters().Logins)
	}
}

// address is that which the person is to open.
func (s *stderrText) address() string {
	s.t.Helper()
	_, address, _ := strings.Cut(s.until("\n\n    http://", "\n"), "\n\n    ")
	address, _, _ = strings.Cut(address, "\n")
	return address
}

// TestPage: what docs/logging-in.md has in Go is in the examples.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/logging-in.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) < 2 {
		t.Errorf("the page has %d programs", len(blocks))
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\n", "\n\t"); !strings.Contains(string(source), indented) {
			t.Errorf("no example runs this:\n%s", block)
		}
	}
}
