package main_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUsage: what a command line gets wrong is said to be that, and no flag is ignored.
func TestUsage(t *testing.T) {
	r := newRig(t, nil)
	issuer := r.oauth()
	password := []string{"login", "--login-url", r.srv.URL + "/login", "--refresh-url", r.srv.URL + "/token/refresh"}
	for _, args := range [][]string{
		append(issuer, "--token-url", r.srv.URL), append(issuer, "--device", "--browser"), append(issuer, "more"),
		append(issuer, "--revoke-url", r.srv.URL), append(issuer, "--auth-url", r.srv.URL), append(issuer, "--device-url", r.srv.URL),
		append(password, "--client-id", "cli"), append(password, "--scope", "x"), append(password, "--client-secret-env", "X"),
		append(password, "--auth-url", r.srv.URL), append(password, "--device-url", r.srv.URL),
		{"status", "more"}, {"logout", "more"}, {"token", "--exec", "git", "get", "more"}, {"token", "--no-such-flag"},
	} {
		if got := r.run("", args...); got.code != 2 {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// TestLogoutNotStored: a login that is still stored is not said to be over.
func TestLogoutNotStored(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	locks, err := filepath.Glob(filepath.Join(r.home, "tokens", "*.lock"))
	if err != nil || len(locks) != 1 {
		t.Fatal(locks, err)
	}
	record := strings.TrimSuffix(locks[0], ".lock")
	if err := errors.Join(os.Rename(record, record+".away"), os.Mkdir(record, 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := r.run("", "logout", "--forget"); got.code != 110 || !strings.Contains(got.stderr, "not logged out") {
		t.Errorf("%+v", got)
	}
	if err := errors.Join(os.Remove(record), os.Rename(record+".away", record)); err != nil {
		t.Fatal(err)
	}
	r.ok("", "logout", "--forget")
}

// TestNobodyReads: what cannot be written to standard output is that, whoever wrote it.
func TestNobodyReads(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	r.env = []string{`KUBERNETES_EXEC_INFO={"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"server":"` + r.srv.URL + `"}}}`}
	for _, args := range [][]string{
		{"/api/me"}, {"-i", "/api/me"}, {"status"}, {"status", "--json"}, {"token"}, {"token", "--exec", "kubectl"}, {"completion", "bash"},
	} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = read.Close()
		cmd := r.command(t.Context(), args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = write, &stderr
		_ = cmd.Run()
		_ = write.Close()
		if code := cmd.ProcessState.ExitCode(); code != 23 {
			t.Errorf("%q: %d, %s", args, code, stderr.String())
		}
	}
}
