//go:build !windows

package main_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A terminal is a real one, in tmux.
type terminal struct {
	t      *testing.T
	socket string
}

func newTerminal(t *testing.T, r *rig) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux here: install the Debian package tmux")
	}
	term := &terminal{t, filepath.Join(t.TempDir(), "tmux")}
	cmd := term.command("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "sh")
	cmd.Env = append(os.Environ(), "TOKENCURL_HOME="+r.home, "PS1=$ ", "TERM=xterm", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = term.command("kill-server").Run() })
	return term
}

func (term *terminal) command(args ...string) *exec.Cmd {
	return exec.Command("tmux", append([]string{"-S", term.socket}, args...)...)
}

func (term *terminal) typed(line string) {
	term.t.Helper()
	if out, err := term.command("send-keys", "-l", line).CombinedOutput(); err != nil {
		term.t.Fatalf("tmux: %v: %s", err, out)
	}
	if out, err := term.command("send-keys", "Enter").CombinedOutput(); err != nil {
		term.t.Fatalf("tmux: %v: %s", err, out)
	}
}

// shows waits until the screen has text, and returns the screen.
func (term *terminal) shows(text string) string {
	term.t.Helper()
	var screen string
	for began := time.Now(); time.Since(began) < 30*time.Second; <-time.After(20 * time.Millisecond) {
		out, err := term.command("capture-pane", "-p", "-S", "-").Output()
		if err != nil {
			term.t.Fatal(err)
		}
		if screen = string(out); strings.Contains(screen, text) {
			return screen
		}
	}
	term.t.Fatalf("the terminal does not show %q:\n%s", text, screen)
	return ""
}

// TestPasswordPrompt: what is typed does not show, and ^C leaves the terminal as it was.
func TestPasswordPrompt(t *testing.T) {
	r := newRig(t, nil)
	term := newTerminal(t, r)
	call := program + " login --login-url " + r.srv.URL + "/login --refresh-url " + r.srv.URL + "/token/refresh"
	term.typed(call + "; echo name=$?")
	term.shows("User:")
	if out, err := term.command("send-keys", "C-c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	term.shows("name=130")
	term.typed("clear; " + call + " --user alice; echo code=$?")
	term.shows("Password of alice:")
	if out, err := term.command("send-keys", "C-c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	term.shows("code=130")
	term.typed("echo vis''ible")
	term.shows("visible")
	term.typed("clear; " + call)
	term.shows("User:")
	term.typed("alice")
	term.shows("Password of alice:")
	term.typed("open sesame")
	if screen := term.shows("Logged in:"); strings.Contains(screen, "sesame") {
		t.Errorf("the password shows:\n%s", screen)
	}
	if got := r.ok("", "/api/me"); !strings.Contains(got, "alice") {
		t.Error(got)
	}
}

// TestProgress: a long transfer shows a bar on a terminal, which is gone at its end, and
// nowhere else.
func TestProgress(t *testing.T) {
	r := newRig(t, nil)
	seen := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", "4000000")
		half := make([]byte, 2000000)
		_, _ = w.Write(half)
		for i := range half { // by little pieces, until somebody has seen the bar
			select {
			case <-seen:
				_, _ = w.Write(half[i:])
				return
			case <-req.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
				_, _ = w.Write(half[:1])
				_ = http.NewResponseController(w).Flush()
			}
		}
	}))
	defer slow.Close()
	r.login("--origin", r.srv.URL, "--origin", slow.URL)
	term := newTerminal(t, r)
	out := filepath.Join(t.TempDir(), "out")
	term.typed(program + " -o " + out + " " + slow.URL + "; echo code=$?")
	term.shows("50%")
	close(seen)
	if screen := term.shows("code=0"); strings.Contains(screen, "%") {
		t.Errorf("the bar stays:\n%s", screen)
	}
	if info, err := os.Stat(out); err != nil || info.Size() != 4000000 {
		t.Error(info, err)
	}
}
