package main_test

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPage runs each command that docs/tokencurl.md has, in a block or in the text, as it stands there
// but for the servers and, as nobody types it, the password.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/tokencurl.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, m := range regexp.MustCompile("(?m)^    (tokencurl .*)$|`(tokencurl [^`]+)`").FindAllStringSubmatch(string(page), -1) {
		commands = append(commands, m[1]+m[2])
	}
	if len(commands) < 12 {
		t.Fatalf("the page has %q only", commands)
	}
	r := newRig(t, nil)
	r.withBrowser("alice")
	api := r.shortAPI()
	servers := strings.NewReplacer("https://api.example.com", api, "https://cluster.example.com", api, "https://auth.example.com", r.srv.URL)
	dir := t.TempDir()
	for _, name := range []string{"me.jpg", "backup.tar"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range commands {
		if strings.HasPrefix(command, "tokencurl login") {
			if !strings.Contains(command, "--issuer") {
				command += " --user alice --password-stdin"
			}
		} else if r.run("", "token").code != 0 { // after the page's logout
			r.ok("open sesame\n", "login", "--user", "alice", "--password-stdin")
		}
		request := !slices.ContainsFunc([]string{"login", "logout", "status", "token", "completion"}, func(name string) bool {
			return strings.HasPrefix(command, "tokencurl "+name)
		})
		if request {
			command += " --fail-with-body"
		}
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", servers.Replace(command))
		cmd.Dir, cmd.Stdin = dir, strings.NewReader("open sesame\n")
		cmd.Env = append(r.command(t.Context()).Env, "PATH="+filepath.Dir(program)+":"+r.bin+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "answer.json")); err != nil || !strings.Contains(string(b), "alice") {
		t.Errorf("%s %v", b, err)
	}
}

// shortAPI is the server of r with its API at "/", where the page has it.
func (r *rig) shortAPI() string {
	r.t.Helper()
	server, err := url.Parse(r.srv.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	api := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(server)
		if path := p.In.URL.Path; path != "/login" && path != "/token/refresh" {
			p.Out.URL.Path = "/api" + path
		}
	}})
	r.t.Cleanup(api.Close)
	return api.URL
}
