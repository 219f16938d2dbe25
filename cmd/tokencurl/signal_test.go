//go:build !windows

package main_test

import (
	"bytes"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// codes are those that a shell has for programs that a signal ended.
var codes = map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129}

func wantCode(t *testing.T, cmd *exec.Cmd, stderr *bytes.Buffer, code int) {
	t.Helper()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != code {
		t.Errorf("want exit code %d, got %v: %s", code, err, stderr)
	}
}

// startReading starts cmd, and returns when it reads its standard input, which does not end.
func startReading(t *testing.T, cmd *exec.Cmd) io.WriteCloser {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil { // more than a pipe holds
		t.Fatal(err)
	}
	return in
}

// TestSignalWaiting: a signal ends a wait for standard input.
func TestSignalWaiting(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	for signal, code := range codes {
		cmd := r.command(t.Context(), "-d", "@-", "/api/things")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		in := startReading(t, cmd)
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		wantCode(t, cmd, &stderr, code)
		_ = in.Close()
	}
}

// TestSignalRefreshing: a signal in the middle of a refresh costs the request, and not the login.
func TestSignalRefreshing(t *testing.T) {
	for signal, code := range codes {
		r := newRig(t, nil)
		f, came, send := newFront(r), make(chan struct{}), make(chan struct{})
		var release func()
		f.first = func(req *http.Request) {
			if req.URL.Path == "/token/refresh" {
				release = r.srv.Hold() // nothing but the signal ends the request that comes after
				close(came)
				<-send
			}
		}
		r.ok("open sesame\n", r.loginBy(f)...)
		r.srv.RevokeAccess("alice")
		f.armed.Store(true)
		cmd := r.command(t.Context(), r.srv.URL+"/api/me")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-came
		times := 1
		if signal != syscall.SIGINT { // timeout(1) and a terminal that is closed send it twice
			times = 1000
		}
		for range times {
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
		close(send)
		wantCode(t, cmd, &stderr, code)
		release()
		f.armed.Store(false)
		if got := r.ok("", r.srv.URL+"/api/me"); !strings.Contains(got, "alice") {
			t.Error(got)
		}
		if n := r.srv.Counters(); n.Refreshes != 1 || n.Reuses != 0 {
			t.Errorf("%v: %+v", signal, n)
		}
	}
}

// TestNohup: what ignores a signal goes on ignoring it.
func TestNohup(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	cmd := r.command(t.Context())
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP; exec "$0" -d @- /api/things`, program}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in := startReading(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	wantCode(t, cmd, &stderr, 0)
}
