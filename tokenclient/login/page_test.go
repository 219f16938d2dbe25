package login_test

import (
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// TestProgram runs the program of the README: it logs in at its first start, and not at its
// second.
func TestProgram(t *testing.T) {
	r := newRig(t, nil)
	noDisplay(t)
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

// noDisplay has no browser open by itself.
func noDisplay(t *testing.T) {
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	t.Setenv("WSL_DISTRO_NAME", "")
}
