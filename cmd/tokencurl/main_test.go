package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// program is the built tokencurl, which the tests run as users do.
var program string

func TestMain(m *testing.M) {
	if page := os.Getenv("TOKENCURL_TEST_APPROVE"); page != "" {
		os.Exit(browse(os.Args[len(os.Args)-1]))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tokencurl")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "tokencurl")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// browse is a browser that follows an address to its end.
func browse(address string) int {
	resp, err := http.Get(address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = resp.Body.Close()
	return 0
}

// A rig is a server, and a folder in which tokencurl has its sessions.
type rig struct {
	t    *testing.T
	srv  *tokentest.Server
	home string
	env  []string
	bin  string // of withBrowser
}

func newRig(t *testing.T, o *tokentest.Options) *rig {
	t.Helper()
	r := &rig{t: t, srv: tokentest.NewServer(t, o), home: filepath.Join(t.TempDir(), "home")}
	r.srv.AddUser("alice", "open sesame")
	return r
}

// A result is how a process ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r *rig) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "TOKENCURL_HOME="+r.home, "DISPLAY=", "WAYLAND_DISPLAY=", "TOKENCURL_SESSION=")
	cmd.Env = append(cmd.Env, r.env...)
	return cmd
}

// run runs tokencurl with stdin, to its end.
func (r *rig) run(stdin string, args ...string) result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := r.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		r.t.Fatalf("tokencurl %q: %v", args, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// ok runs what must go well, and returns what it wrote.
func (r *rig) ok(stdin string, args ...string) string {
	r.t.Helper()
	got := r.run(stdin, args...)
	if got.code != 0 {
		r.t.Fatalf("tokencurl %q: exit code %d\n%s%s", args, got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// login logs alice in by her password.
func (r *rig) login(more ...string) {
	r.t.Helper()
	r.ok("open sesame\n", append([]string{"login", "--login-url", r.srv.URL + "/login", "--refresh-url", r.srv.URL + "/token/refresh",
		"--user", "alice", "--password-stdin"}, more...)...)
}

// loginRevoked logs alice in, whose access token is then revoked.
func (r *rig) loginRevoked(more ...string) {
	r.t.Helper()
	r.login(more...)
	r.srv.RevokeAccess("alice")
}

// TestPassword is the whole life of a session.
func TestPassword(t *testing.T) {
	r := newRig(t, nil)
	if got := r.run("", r.srv.URL+"/api/me"); got.code != 67 || !strings.Contains(got.stderr, "tokencurl login") {
		t.Errorf("before a login: %+v", got)
	}
	if got := r.run("wrong\n", "login", "--login-url", r.srv.URL+"/login", "--refresh-url", r.srv.URL+"/token/refresh", "--user", "alice", "--password-stdin"); got.code != 67 || strings.Contains(got.stderr, "wrong") {
		t.Errorf("a wrong password: %+v", got)
	}
	r.login()
	if got := r.ok("", "/api/me"); !strings.Contains(got, `"subject":"alice"`) {
		t.Error(got)
	}
	r.srv.RevokeAccess("alice")
	if got := r.ok("", r.srv.URL+"/api/me"); !strings.Contains(got, `"subject":"alice"`) {
		t.Error(got)
	}
	if n := r.srv.Counters(); n.Refreshes != 1 || n.Unauthorized != 1 {
		t.Errorf("%+v", n)
	}
	r.srv.RevokeAll("alice")
	if got := r.run("", "/api/me"); got.code != 67 {
		t.Errorf("after the end of the login: %+v", got)
	}
	r.ok("open sesame\n", "login", "--user", "alice", "--password-stdin") // where is remembered
	r.ok("", "logout")
	if got := r.run("", "/api/me"); got.code != 67 {
		t.Errorf("after the logout: %+v", got)
	}
	r.ok("", "logout", "--forget")
	if got := r.ok("", "status"); !strings.Contains(got, "no session") {
		t.Error(got)
	}
}

// TestExpiry: a token that has expired is never sent.
func TestExpiry(t *testing.T) {
	r := newRig(t, &tokentest.Options{AccessLifetime: time.Second})
	r.login()
	expired := time.After(time.Second)
	r.srv.Set(func(o *tokentest.Options) { o.AccessLifetime = 0 })
	<-expired
	r.ok("", "/api/me")
	if n := r.srv.Counters(); n.Refreshes != 1 || n.Unauthorized != 0 {
		t.Errorf("%+v", n)
	}
}

// TestTwoAtOnce: processes share each refresh.
func TestTwoAtOnce(t *testing.T) {
	r := newRig(t, nil)
	for range 3 {
		r.loginRevoked()
		before := r.srv.Counters()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got := r.run("", "/api/me"); got.code != 0 {
					t.Errorf("%+v", got)
				}
			})
		}
		wg.Wait()
		if n := r.srv.Counters(); n.Refreshes != before.Refreshes+1 || n.Reuses != 0 {
			t.Errorf("%d refreshes, %d reuses", n.Refreshes-before.Refreshes, n.Reuses)
		}
	}
}

// TestKilled: a process that is killed in the middle of a refresh costs the others a wait, and
// not the session.
func TestKilled(t *testing.T) {
	r := newRig(t, nil)
	server, err := url.Parse(r.srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 1)
	var calls atomic.Int32
	proxy := httputil.NewSingleHostReverseProxy(server)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if calls.Add(1) > 1 {
			proxy.ServeHTTP(w, req)
			return
		}
		_, _ = io.Copy(io.Discard, req.Body) // from here on the server sees that the client leaves
		came <- struct{}{}
		<-req.Context().Done()
	}))
	defer front.Close()
	r.loginRevoked("--refresh-timeout", "1s", "--refresh-url", front.URL+"/token/refresh")
	cmd := r.command(t.Context(), "/api/me")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-came
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := r.ok("", "/api/me"); !strings.Contains(got, "alice") {
		t.Error(got)
	}
	if n := r.srv.Counters(); calls.Load() != 2 || n.Refreshes != 1 || n.Reuses != 0 {
		t.Errorf("%d calls, %+v", calls.Load(), n)
	}
}

// oauth are the flags of a login at the server's OAuth endpoints.
func (r *rig) oauth(more ...string) []string {
	return append([]string{"login", "--issuer", r.srv.URL, "--client-id", "cli", "--origin", r.srv.URL}, more...)
}

// TestDevice: the person types the code into a page elsewhere.
func TestDevice(t *testing.T) {
	r := newRig(t, nil)
	cmd := r.command(t.Context(), r.oauth("--device")...)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	code := regexp.MustCompile(`\b[A-Z0-9]{4}-[A-Z0-9]{4}\b`)
	b := make([]byte, 1024)
	for code.FindString(text.String()) == "" {
		n, err := said.Read(b)
		text.Write(b[:n])
		if err != nil {
			t.Fatalf("%v: %s", err, text.String())
		}
	}
	resp, err := http.PostForm(r.srv.URL+"/device", url.Values{"user_code": {code.FindString(text.String())}, "decision": {"approve"}, "user": {"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for err == nil {
		_, err = said.Read(b)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	r.srv.RevokeAccess("bob")
	if got := r.ok("", "/api/me"); !strings.Contains(got, `"subject":"bob"`) {
		t.Error(got)
	}
	r.ok("", "logout")
	if n := r.srv.Counters().Revocations; n != 1 {
		t.Errorf("%d revocations", n)
	}
}

// withBrowser has the program that shows pages be a browser that follows the address, and user
// approve. It ignores SIGPIPE if there is a file of the name that is returned.
func (r *rig) withBrowser(user string) (deaf string) {
	r.t.Helper()
	r.bin = r.t.TempDir()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	deaf = filepath.Join(r.bin, "deaf")
	script := "#!/bin/sh\nsh -c 'kill -PIPE $$; : >" + deaf + "'\nexec " + self + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(r.bin, "xdg-open"), []byte(script), 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.env = []string{"DISPLAY=:0", "TOKENCURL_TEST_APPROVE=1", "PATH=" + r.bin + ":" + os.Getenv("PATH")}
	r.srv.Approve(user)
	return deaf
}

// TestBrowser: the program that shows pages is a browser that follows the address.
func TestBrowser(t *testing.T) {
	r := newRig(t, nil)
	deaf := r.withBrowser("carol")
	r.ok("", r.oauth()...)
	if got := r.ok("", "/api/me"); !strings.Contains(got, `"subject":"carol"`) {
		t.Error(got)
	}
	if _, err := os.Stat(deaf); err == nil {
		t.Error("the browser ignores SIGPIPE, for all of its life")
	}
	r.srv.Approve("")
	if got := r.run("", r.oauth()...); got.code != 67 {
		t.Errorf("a refusal: %+v", got)
	}
	if got := r.ok("", "/api/me"); !strings.Contains(got, `"subject":"carol"`) {
		t.Errorf("a refused login ended the one before: %s", got)
	}
}
