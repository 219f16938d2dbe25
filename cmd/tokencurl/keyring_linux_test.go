package main_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A desktop is a session bus with a gnome-keyring that is unlocked, both of the test's own.
type desktop struct {
	t       *testing.T
	runtime string
	env     []string
	end     func()
}

// newDesktop starts one whose keyrings are in home.
func newDesktop(t *testing.T, home string) *desktop {
	t.Helper()
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here: install the Debian packages dbus and gnome-keyring", program)
		}
	}
	d := &desktop{t: t, runtime: t.TempDir()}
	// Without a display, so that a keyring that wants to ask a person cannot.
	d.env = []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + d.runtime, "DISPLAY=", "WAYLAND_DISPLAY="}
	cmd := exec.CommandContext(t.Context(), "dbus-run-session", "--", "/bin/sh", "-c",
		`printf horse | gnome-keyring-daemon --unlock --components=secrets >/dev/null && echo "$DBUS_SESSION_BUS_ADDRESS" && read line`)
	cmd.Env = append(os.Environ(), d.env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.end = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
		for began := time.Now(); len(d.processes()) > 0 && time.Since(began) < 10*time.Second; <-time.After(10 * time.Millisecond) {
			for _, pid := range d.processes() {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
	})
	t.Cleanup(d.end)
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "DBUS_SESSION_BUS_ADDRESS="+strings.TrimSpace(address))
	return d
}

// processes finds those of the desktop by their environment: a keyring is no child of who
// started it.
func (d *desktop) processes() (pids []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, dir := range dirs {
		env, _ := os.ReadFile(filepath.Join(dir, "environ")) // empty if it has ended
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && bytes.Contains(env, []byte("XDG_RUNTIME_DIR="+d.runtime+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestKeyring is the life of a session whose key is in a real keyring.
func TestKeyring(t *testing.T) {
	r := newRig(t, nil)
	home := t.TempDir()
	d := newDesktop(t, home)
	r.env = d.env
	r.login("--key", "keyring")
	if _, err := os.Stat(filepath.Join(r.home, "secret.key")); err == nil {
		t.Error("there is a key file too")
	}
	r.srv.RevokeAccess("alice")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := r.run("", "/api/me"); got.code != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	wg.Wait()
	if n := r.srv.Counters(); n.Refreshes != 1 || n.Reuses != 0 {
		t.Errorf("%+v", n)
	}
	token := strings.TrimSpace(r.ok("", "token"))
	if got := r.ok("", "status"); !strings.Contains(got, "keyring (") || !strings.Contains(got, "active") || strings.Contains(got, token) {
		t.Error(got)
	}

	d.end()
	before := r.srv.Counters()
	for _, args := range [][]string{{"/api/me"}, {"token"}, {"logout"}} {
		if got := r.run("", args...); got.code != 110 || !strings.Contains(got.stderr, "keyring") {
			t.Errorf("%q, the keyring is gone: %+v", args, got)
		}
	}
	if got := r.ok("", "status"); !strings.Contains(got, "keyring") || strings.Contains(got, "no session") {
		t.Error(got)
	}
	if n := r.srv.Counters(); n != before {
		t.Errorf("the keyring is gone: %+v, before %+v", n, before)
	}

	r.env = newDesktop(t, home).env // the person is back
	r.srv.RevokeAccess("alice")
	r.ok("", "/api/me")
	r.ok("", "logout")
	if got := r.run("", "/api/me"); got.code != 67 {
		t.Errorf("after the logout: %+v", got)
	}
}

// TestNoKeyring: where there is none, a login says so before it asks for a password, and what
// to do.
func TestNoKeyring(t *testing.T) {
	r := newRig(t, nil)
	r.env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(t.TempDir(), "absent")}
	got := r.run("open sesame\n", "login", "--login-url", r.srv.URL+"/login", "--refresh-url", r.srv.URL+"/token/refresh", "--user", "alice", "--password-stdin", "--key", "keyring")
	if got.code != 110 || !strings.Contains(got.stderr, "--key file") || r.srv.Counters().Logins != 0 {
		t.Errorf("%+v", got)
	}
	if got := r.ok("", "status"); !strings.Contains(got, "no session") {
		t.Error(got)
	}
}
