package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGit runs git's own client of the protocol.
func TestGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git here: install the Debian package git")
	}
	r := newRig(t, nil)
	r.login()
	token := strings.TrimSpace(r.ok("", "token"))
	host := strings.TrimPrefix(r.srv.URL, "http://")
	credential := func(operation, asked string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), git, "-c", "credential.helper=", "-c", "credential.helper=!'"+program+"' token --exec git", "credential", operation)
		cmd.Env = append(os.Environ(), "TOKENCURL_HOME="+r.home, "GIT_CONFIG_NOSYSTEM=1", "HOME="+t.TempDir(), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true")
		cmd.Stdin = strings.NewReader(asked)
		out, err := cmd.CombinedOutput()
		if err != nil && operation != "fill" {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	asked := "protocol=http\nhost=" + host + "\n\n"
	if got := credential("fill", asked); !strings.Contains(got, "password="+token+"\n") || !strings.Contains(got, "username=oauth2\n") {
		t.Error(got)
	}
	if got := credential("fill", "protocol=https\nhost=example.com\n\n"); strings.Contains(got, token) {
		t.Errorf("the token went elsewhere: %s", got)
	}
	credential("reject", "protocol=http\nhost="+host+"\nusername=oauth2\npassword="+token+"\n\n")
	if n := r.srv.Counters().Refreshes; n != 1 {
		t.Errorf("%d refreshes after the server refused the token", n)
	}
	if got := credential("fill", asked); strings.Contains(got, token) || !strings.Contains(got, "password=eyJ") {
		t.Errorf("the refused token came again: %s", got)
	}
	// Capabilities come first (git-credential(1)).
	if got := r.ok("capability[]=authtype\n"+asked, "token", "--exec", "git", "get"); !strings.HasPrefix(got, "capability[]=authtype\n") || !strings.Contains(got, "authtype=Bearer\ncredential=eyJ") {
		t.Error(got)
	}
}

// TestKubectlRevoked: kubectl does not say that a token was refused; a request of ours does.
func TestKubectlRevoked(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	r.env = []string{`KUBERNETES_EXEC_INFO={"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"server":"` + r.srv.URL + `"}}}`}
	before := r.ok("", "token", "--exec", "kubectl")
	r.srv.RevokeAccess("alice")
	r.ok("", r.srv.URL+"/api/me")
	if after := r.ok("", "token", "--exec", "kubectl"); after == before {
		t.Error("the revoked token was handed out again")
	}
}

// TestHelpersStrict: what is no plain name of the session's host gets no token, whatever
// url.Parse makes of it.
func TestHelpersStrict(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	host := strings.TrimPrefix(r.srv.URL, "http://")
	for _, other := range []string{"example.com@" + host, "a:b@" + host, host + "/x", host + "?x", host + "#x", host + "/../example.com", host + ".", "example.com", ""} {
		if got := r.run("protocol=http\nhost="+other+"\n\n", "token", "--exec", "git", "get"); got.code != 0 || got.stdout != "" {
			t.Errorf("git, %q: %+v", other, got)
		}
	}
	for _, protocol := range []string{"https", "ftp", "http://" + host + "#", ""} {
		if got := r.run("protocol="+protocol+"\nhost="+host+"\n\n", "token", "--exec", "git", "get"); got.code != 0 || got.stdout != "" {
			t.Errorf("git, %q: %+v", protocol, got)
		}
	}
	for _, other := range []string{"example.com@" + host, "http://a:b@" + host, "https://" + host, "example.com/" + host} {
		if got := r.run(other, "token", "--exec", "docker", "get"); got.code != 1 || strings.Contains(got.stdout, "eyJ") {
			t.Errorf("docker, %q: %+v", other, got)
		}
	}
	for version, server := range map[string]string{"v1": "http://a:b@" + host, "v10": r.srv.URL, "v1beta2": r.srv.URL, "v1alpha1": r.srv.URL} {
		r.env = []string{`KUBERNETES_EXEC_INFO={"apiVersion":"client.authentication.k8s.io/` + version + `","kind":"ExecCredential","spec":{"cluster":{"server":"` + server + `"}}}`}
		if got := r.run("", "token", "--exec", "kubectl"); got.code == 0 || strings.Contains(got.stdout, "eyJ") {
			t.Errorf("kubectl, %s, %s: %+v", version, server, got)
		}
	}
}

// TestDocker: the program by the name that docker looks for.
func TestDocker(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	token := strings.TrimSpace(r.ok("", "token"))
	helper := filepath.Join(t.TempDir(), "docker-credential-tokencurl")
	if err := os.Symlink(program, helper); err != nil {
		t.Fatal(err)
	}
	call := func(asked, operation string) (string, error) {
		cmd := r.command(t.Context(), operation)
		cmd.Path, cmd.Args[0], cmd.Stdin = helper, helper, strings.NewReader(asked)
		out, err := cmd.Output()
		return string(out), err
	}
	for _, server := range []string{r.srv.URL, strings.TrimPrefix(r.srv.URL, "http://")} {
		out, err := call(server+"\n", "get")
		var got struct{ ServerURL, Username, Secret string }
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err, out)
		}
		if err != nil || got.ServerURL != server || got.Username != "oauth2" || got.Secret != token {
			t.Errorf("%s: %s %v", server, out, err)
		}
	}
	if out, err := call("registry.example.com", "get"); err == nil || out != "credentials not found in native keychain\n" {
		t.Errorf("%s %v", out, err)
	}
	if out, err := call("", "list"); err != nil || !strings.Contains(out, r.srv.URL) {
		t.Errorf("%s %v", out, err)
	}
	if out, err := call("{}", "store"); err == nil {
		t.Errorf("%s", out)
	}
}

// TestKubectl: an exec plugin of client-go.
func TestKubectl(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	token := strings.TrimSpace(r.ok("", "token"))
	for _, version := range []string{"v1", "v1beta1"} {
		for _, test := range []struct {
			cluster string
			code    int
		}{
			{`,"cluster":{"server":"` + r.srv.URL + `"}`, 0},
			{`,"cluster":{"server":"https://example.com"}`, 111},
			{``, 2}, // kubectl does not say where
		} {
			r.env = []string{`KUBERNETES_EXEC_INFO={"apiVersion":"client.authentication.k8s.io/` + version + `","kind":"ExecCredential","spec":{"interactive":false` + test.cluster + `}}`}
			out := r.run("", "token", "--exec", "kubectl")
			if out.code != test.code || test.code != 0 && strings.Contains(out.stdout+out.stderr, token) {
				t.Errorf("%s: %+v", test.cluster, out)
			}
			if test.code != 0 {
				continue
			}
			var got struct {
				APIVersion, Kind string
				Status           struct{ Token, ExpirationTimestamp string }
			}
			if err := json.Unmarshal([]byte(out.stdout), &got); err != nil {
				t.Fatal(err, out)
			}
			if got.APIVersion != "client.authentication.k8s.io/"+version || got.Kind != "ExecCredential" || got.Status.Token != token || got.Status.ExpirationTimestamp == "" {
				t.Errorf("%+v", got)
			}
		}
	}
}
