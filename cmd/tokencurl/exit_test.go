package main_test

import (
	"bytes"
	"os"
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
