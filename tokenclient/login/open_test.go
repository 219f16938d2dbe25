package login_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

func TestOpener(t *testing.T) {
	missing := errors.New("not there")
	for _, c := range []struct {
		goos string
		env  map[string]string
		has  string // the programs
		want string // "": an error
	}{
		{"darwin", nil, "", "/usr/bin/open"},
		{"windows", map[string]string{"SystemRoot": "W"}, "", "W/System32/rundll32.exe url.dll,FileProtocolHandler"},
		{"windows", nil, "", ""},
		{"linux", map[string]string{"DISPLAY": ":0"}, "xdg-open", "/found/xdg-open"},
		{"freebsd", map[string]string{"WAYLAND_DISPLAY": "wayland-0"}, "xdg-open", "/found/xdg-open"},
		{"linux", map[string]string{"DISPLAY": ":0"}, "", ""},
		{"linux", nil, "xdg-open wslview", ""},
		{"linux", map[string]string{"SSH_TTY": "/dev/pts/0"}, "xdg-open", ""},
		{"linux", map[string]string{"WSL_DISTRO_NAME": "Debian"}, "xdg-open wslview", "/found/wslview"},
		{"linux", map[string]string{"WSL_DISTRO_NAME": "Debian"}, "xdg-open", ""},
		{"linux", map[string]string{"WSL_DISTRO_NAME": "Debian", "DISPLAY": ":0"}, "xdg-open wslview", "/found/xdg-open"},
	} {
		argv, err := login.Opener(c.goos, func(name string) string { return c.env[name] }, func(name string) (string, error) {
			if strings.Contains(c.has, name) {
				return "/found/" + name, nil
			}
			return "", missing
		})
		if got := filepath.ToSlash(strings.Join(argv, " ")); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %v: %q, %v", c.goos, c.env, got, err)
		}
	}
}

// fakeOpener puts a program into the PATH, in the place of xdg-open, and returns the file
// that it writes its arguments to.
func fakeOpener(t *testing.T, script string) (args string) {
	t.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("there is no xdg-open here")
	}
	dir := t.TempDir()
	args = filepath.Join(dir, "args")
	text := "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done >" + args + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":99")
	return args
}

// TestOpenBrowser: the program gets the address as one argument, whatever a shell would make
// of it.
func TestOpenBrowser(t *testing.T) {
	args := fakeOpener(t, "exit 0")
	for given, want := range map[string]string{
		"https://auth.example.com/?a=b&c=$(touch%20x)": "https://auth.example.com/?a=b&c=$(touch%20x)",
		"https://auth.example.com/a b?`id`;x":          "https://auth.example.com/a%20b?`id`;x",
		"http://127.0.0.1:1/'\"":                       "http://127.0.0.1:1/%27%22",
	} {
		if err := login.Open(t.Context(), given, time.Minute); err != nil {
			t.Errorf("%s: %v", given, err)
		}
		if got, err := os.ReadFile(args); err != nil || string(got) != want+"\n" {
			t.Errorf("%s: the program got %q, %v", given, got, err)
		}
	}
	for _, bad := range []string{"", "x", "file:///etc/passwd", "javascript:alert(1)", "--help", "-x", "https:", "https:opaque", "https://a/%zz", "https://a/\n"} {
		if err := login.OpenBrowser(t.Context(), bad); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
}

// TestOpenBrowserFails: a program that fails is an error, and one that goes on is none: it may
// be the browser.
func TestOpenBrowserFails(t *testing.T) {
	fakeOpener(t, "exit 4")
	err := login.Open(t.Context(), "https://auth.example.com/", time.Minute)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 4 || !strings.Contains(err.Error(), "xdg-open") {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := login.OpenBrowser(ended, "https://auth.example.com/"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	t.Setenv("WSL_DISTRO_NAME", "")
	if err := login.OpenBrowser(t.Context(), "https://auth.example.com/"); err == nil || !strings.Contains(err.Error(), "no display") {
		t.Error(err)
	}
}

func TestOpenBrowserGoesOn(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs") // as long as this is there, which TestMain waits for
	if err := os.WriteFile(runs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fakeOpener(t, "while [ -e "+runs+" ]; do sleep 0.1; done")
	if err := login.Open(t.Context(), "https://auth.example.com/", 50*time.Millisecond); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := login.Open(ctx, "https://auth.example.com/", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestDefaultPrompt: without a Prompt the browser is opened, and the address is written
// down, also where there is no browser.
func TestDefaultPrompt(t *testing.T) {
	args := fakeOpener(t, "exit 0")
	for _, display := range []string{":99", ""} {
		t.Setenv("DISPLAY", display)
		r := newRig(t, nil)
		stderr := captureStderr(t)
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- login.Browser(ctx, r.session, r.config) }()
		address := stderr.address()
		text := stderr.text
		opened := []byte("")
		for end := time.Now().Add(time.Minute); display != "" && len(opened) == 0 && time.Now().Before(end); runtime.Gosched() {
			opened, _ = os.ReadFile(args) // it may be slower than the text
		}
		if strings.Contains(text, "A browser has opened") != (display != "") || (string(opened) == address+"\n") != (display != "") {
			t.Errorf("DISPLAY=%s: %s; opened %q", display, text, opened)
		}
		if _, err := fetch(address); err != nil {
			t.Error(err)
			cancel()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
		r.wantLogin(t)
		_ = os.Remove(args)
	}
}

// TestDefaultPromptOver: who was logged in before the browser's program has ended, as by a browser
// that knows who it is, is not asked to open an address that leads nowhere any more.
func TestDefaultPromptOver(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs") // as in TestOpenBrowserGoesOn
	if err := os.WriteFile(runs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := fakeOpener(t, "mv "+runs+" "+runs+"-\nwhile [ -e "+runs+"- ]; do sleep 0.1; done")
	r := newRig(t, nil)
	stderr := captureStderr(t)
	done := make(chan error, 1)
	go func() { done <- login.Browser(t.Context(), r.session, r.config) }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); runtime.Gosched() {
		if _, err := os.Stat(runs); err != nil { // the address is written
			break
		}
	}
	address, err := os.ReadFile(args)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(strings.TrimSpace(string(address))); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if text := stderr.rest(); strings.Contains(text, "To log in") { // on a slow machine the browser counts as opened
		t.Errorf("the person is told: %s", text)
	}
}

// A stderrText is what is written to os.Stderr.
type stderrText struct {
	t    *testing.T
	r    *os.File
	text string
}

func captureStderr(t *testing.T) *stderrText {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = w
	t.Cleanup(func() {
		os.Stderr = was
		_, _ = w.Close(), r.Close()
	})
	return &stderrText{t: t, r: r}
}

// rest closes os.Stderr, and reads to its end.
func (s *stderrText) rest() string {
	s.t.Helper()
	if err := os.Stderr.Close(); err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(s.r)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// until reads until there is mark, and end after it.
func (s *stderrText) until(mark, end string) string {
	s.t.Helper()
	buf := make([]byte, 1024)
	for {
		if _, after, ok := strings.Cut(s.text, mark); ok && strings.Contains(after, end) {
			return s.text
		}
		n, err := s.r.Read(buf)
		if err != nil {
			s.t.Fatal(err)
		}
		s.text += string(buf[:n])
	}
}
