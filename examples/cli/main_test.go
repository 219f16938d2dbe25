package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// demo runs its own executable, which in a test is the test.
const beProgram = "CLI_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
	}
	if err := os.Setenv(beProgram, "1"); err != nil { // for the children
		panic(err)
	}
	if err := os.Unsetenv(passwordVariable); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A fixture is a server and the folder of one person.
type fixture struct {
	*testing.T
	server *tokentest.Server
	dir    string
}

const password = "correct horse"

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t, tokentest.NewServer(t, nil), t.TempDir()}
	f.server.AddUser("alice", password)
	return f
}

func (f *fixture) flags(args ...string) []string {
	return slices.Concat([]string{"-api", f.server.URL, "-dir", f.dir}, args)
}

// runs runs the program and checks how it ends, and that both outputs together
// hold all that is wanted and no secret.
func (f *fixture) runs(stdin string, code int, args []string, want ...string) {
	f.Helper()
	var stdout, stderr strings.Builder
	got := run(f.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	f.check(args, got, code, stdout.String(), stderr.String(), want...)
}

func (f *fixture) check(args []string, got, code int, stdout, stderr string, want ...string) {
	f.Helper()
	out := stdout + stderr
	if got != code {
		f.Errorf("%v: status %d, want %d\n%s", args, got, code, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			f.Errorf("%v: no %q in\n%s", args, w, out)
		}
	}
	if code != exitOK && stdout != "" {
		f.Errorf("%v: failed, and wrote to stdout: %s", args, stdout)
	}
	if holdsSecret(out) {
		f.Errorf("%v: a secret in\n%s", args, out)
	}
}

// secrets are how JWTs begin, all of them, and what is typed.
var secrets = []string{"eyJ", password, "wrong horse"}

func holdsSecret(text string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) })
}

func (f *fixture) login() {
	f.Helper()
	f.runs(password+"\n", exitOK, f.flags("login"), "alice is logged in")
}

// files returns the paths below the folder that match.
func (f *fixture) files(match func(fs.DirEntry) bool) (paths []string) {
	f.Helper()
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && match(d) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return paths
}

// record returns the path of the one stored token.
func (f *fixture) record() string {
	f.Helper()
	paths := f.files(func(d fs.DirEntry) bool { return len(d.Name()) == 64 && !d.IsDir() })
	if len(paths) != 1 {
		f.Fatalf("%d records: %v", len(paths), paths)
	}
	return paths[0]
}

func (f *fixture) write(path, text string) {
	f.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) chmod(path string, mode fs.FileMode) {
	f.Helper()
	if err := os.Chmod(path, mode); err != nil {
		f.Fatal(err)
	}
}

// expire stores a token that expired a minute ago.
func (f *fixture) expire() {
	f.Helper()
	token := f.server.Issue("alice")
	token.Issued, token.Expiry = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	t := &tool{api: f.server.URL, user: "alice", dir: f.dir}
	err := t.withSession(f.Context(), func(s *tokenclient.Session) error { return s.SetToken(f.Context(), token) })
	if err != nil {
		f.Fatal(err)
	}
}

func TestSecretIsFound(t *testing.T) {
	token := newFixture(t).server.Issue("alice")
	for _, s := range []string{token.AccessToken, token.RefreshToken, password} {
		if !holdsSecret("x" + s) {
			t.Error("a secret is not recognised")
		}
	}
}

func TestCommands(t *testing.T) {
	f := newFixture(t)
	f.login()
	f.runs("", exitOK, f.flags("get", "/api/orders"), `"path":"/api/orders"`, `"subject":"alice"`)
	f.runs("", exitOK, f.flags("status"), "alice is logged in at "+f.server.URL, "Access token: good until", "(15m0s)", "Login: good until")
	all := f.files(func(d fs.DirEntry) bool { return d.Type().IsRegular() })
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if holdsSecret(string(b)) {
			t.Errorf("a secret in %s", path)
		}
	}
	if len(all) < 2 {
		t.Errorf("files: %v", all)
	}

	f.server.RevokeAccess("alice")
	f.runs("", exitOK, f.flags("get", "/api/orders"), `"subject":"alice"`)
	f.expire()
	f.runs("", exitOK, f.flags("status"), "Access token: expired;")
	f.runs("", exitOK, f.flags("get", "/api/orders"), `"subject":"alice"`)
	f.runs("", exitOK, f.flags("logout"), "alice is logged out")
	f.runs("", exitLogin, f.flags("status"), "log in first")
	f.runs("", exitLogin, f.flags("get", "/api/orders"), "log in first")
	f.runs("", exitOK, f.flags("logout"), "alice is logged out")
	got := f.server.Counters()
	if want := (tokentest.Counters{Logins: 1, Refreshes: 2, Revocations: 1, Requests: 4, Unauthorized: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	f.login()
	f.runs("", exitOK, f.flags("get", "/api/orders"), `"subject":"alice"`)
}

func TestPassword(t *testing.T) {
	f := newFixture(t)
	for _, stdin := range []string{password + "\n", password + "\r\n", password, password + "\nmore\n"} {
		f.runs(stdin, exitOK, f.flags("login"), "Password of alice: ", "alice is logged in")
	}
	for _, stdin := range []string{"", "\n"} {
		f.runs(stdin, exitError, f.flags("login"), "no password given")
	}
	if n := f.server.Counters().Logins; n != 4 {
		t.Errorf("%d logins", n)
	}
	t.Setenv(passwordVariable, password)
	f.runs("", exitOK, f.flags("login"), "alice is logged in")
}

func TestInterruptedWhileAsking(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stdin, w := io.Pipe() // nobody types
	defer w.Close()
	var stdout, stderr strings.Builder
	got := run(ctx, f.flags("login"), stdin, &stdout, &stderr)
	f.check([]string{"login"}, got, exitError, stdout.String(), stderr.String(), "interrupted")
}

func TestBadUsage(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{f.flags("dance"), `no command "dance"`},
		{f.flags("get"), "get takes 1 arguments"},
		{f.flags("get", "/a", "/b"), "get takes 1 arguments"},
		{f.flags("status", "-user", "bob"), "flags go before it"},
		{f.flags("get", "api/orders"), "begins with a slash"},
		{f.flags("-password", "wrong", "login"), "flag provided but not defined: -password"},
		{[]string{"-dir", f.dir, "-api", "http://api.example.com", "status"}, "plain http"},
		{[]string{"-dir", f.dir, "-api", "api.example.com", "status"}, "https://"},
		{[]string{"-dir", f.dir, "-api", "https://api.example.com/v1", "status"}, "more than scheme, host and port"},
	} {
		f.runs("", exitUsage, c.args, c.want, "cli -h helps")
	}
	f.runs("", exitOK, []string{"-h"}, "usage: cli", passwordVariable)
	if c := f.server.Counters(); c != (tokentest.Counters{}) {
		t.Errorf("the server was asked: %+v", c)
	}
}

// closed is the URL of a server that is gone.
func closed(t *testing.T) string {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	return server.URL
}

// TestFailures is about all that is not the command line's fault.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		unix bool // it takes modes that mean something
		play func(f *fixture)
	}{
		{"no login", false, func(f *fixture) {
			f.runs("", exitLogin, f.flags("get", "/api/orders"), "log in first")
			f.runs("", exitLogin, f.flags("status"), "log in first")
		}},
		{"another user's login", false, func(f *fixture) {
			f.login()
			f.runs("", exitLogin, f.flags("-user", "bob", "get", "/api/orders"), "log in first")
		}},
		{"wrong password", false, func(f *fixture) {
			f.runs("wrong horse\n", exitError, f.flags("login"), "wrong user name or password")
			f.runs("", exitLogin, f.flags("status"), "log in first")
		}},
		{"wrong password keeps the old login", false, func(f *fixture) {
			f.login()
			f.runs("wrong horse\n", exitError, f.flags("login"), "wrong user name or password")
			f.runs("", exitOK, f.flags("get", "/api/orders"), "alice")
		}},
		{"unreachable, login", false, func(f *fixture) {
			f.runs(password, exitError, []string{"-dir", f.dir, "-api", closed(f.T), "login"}, "cannot be reached", "try again later")
		}},
		{"unreachable, good token", false, func(f *fixture) {
			f.login()
			f.server.Close()
			f.runs("", exitError, f.flags("get", "/api/orders"), "the API cannot be reached; try again later")
			f.runs("", exitOK, f.flags("status"), "alice is logged in")
		}},
		{"unreachable, expired token", false, func(f *fixture) {
			f.expire()
			f.server.Close()
			f.runs("", exitError, f.flags("get", "/api/orders"), "the login server cannot be reached", "try again later")
			f.runs("", exitOK, f.flags("status"), "Access token: expired", "Login: good until")
		}},
		{"unreachable, logout", false, func(f *fixture) {
			f.login()
			f.server.Close()
			f.runs("", exitError, f.flags("logout"), "logged out here, but the server was not told")
			f.runs("", exitLogin, f.flags("status"), "log in first")
		}},
		{"refresh in trouble", false, func(f *fixture) {
			f.login()
			f.server.RevokeAccess("alice")
			f.server.FailRefresh(2, tokentest.Fault{Status: http.StatusServiceUnavailable})
			f.runs("", exitError, f.flags("get", "/api/orders"), "in trouble", "status 503")
			f.runs("", exitOK, f.flags("get", "/api/orders"), "alice")
		}},
		{"refresh token refused", false, func(f *fixture) {
			f.login()
			f.server.RevokeAll("alice")
			f.runs("", exitLogin, f.flags("get", "/api/orders"), "log in first")
			f.runs("", exitLogin, f.flags("status"), "log in first")
			f.login()
			f.runs("", exitOK, f.flags("get", "/api/orders"), "alice")
		}},
		{"unknown client", false, func(f *fixture) {
			f.login()
			f.server.RevokeAccess("alice")
			f.server.Set(func(o *tokentest.Options) { o.ClientSecret = "s" })
			f.runs("", exitError, f.flags("get", "/api/orders"), "does not accept this program", "invalid_client")
		}},
		{"API answers an error", false, func(f *fixture) {
			f.login()
			f.runs("", exitError, f.flags("get", "/elsewhere"), "the API answered 404 Not Found")
		}},
		{"corrupt record", false, func(f *fixture) {
			f.login()
			f.write(f.record(), "\x01nonsense")
			for _, args := range [][]string{{"get", "/api/orders"}, {"status"}} {
				f.runs("", exitError, f.flags(args...), "the stored login is damaged", "cli login replaces", f.record())
			}
			f.login()
			f.runs("", exitOK, f.flags("get", "/api/orders"), "alice")
		}},
		{"record of a newer version", false, func(f *fixture) {
			f.login()
			f.write(f.record(), "\x02and all the rest")
			f.runs("", exitError, f.flags("get", "/api/orders"), "upgrade the program", f.record())
			f.login()
			f.runs("", exitOK, f.flags("get", "/api/orders"), "alice")
		}},
		{"truncated record", false, func(f *fixture) {
			f.login()
			info, err := os.Stat(f.record())
			if err != nil {
				f.Fatal(err)
			}
			if err := os.Truncate(f.record(), info.Size()-1); err != nil {
				f.Fatal(err)
			}
			f.runs("", exitError, f.flags("get", "/api/orders"), "the stored login is damaged")
		}},
		{"wrong key", false, func(f *fixture) {
			f.login()
			path := filepath.Join(f.dir, "secret.key")
			right, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.write(path, strings.Repeat("0f", 32))
			for _, args := range [][]string{{"get", "/api/orders"}, {"status"}} {
				f.runs("", exitError, f.flags(args...), "the stored login cannot be used, and is left as it is", f.record())
			}
			f.write(path, string(right))
			f.runs("", exitOK, f.flags("get", "/api/orders"), "alice")
		}},
		{"no key", false, func(f *fixture) {
			f.login()
			path := filepath.Join(f.dir, "secret.key")
			f.write(path, "not a key")
			f.runs("", exitError, f.flags("status"), path, "no key")
		}},
		{"world-readable folder", true, func(f *fixture) {
			f.login()
			path := filepath.Join(f.dir, "tokens")
			f.chmod(path, 0o755)
			f.runs("", exitError, f.flags("get", "/api/orders"), path, "mode 0755", "0700")
			f.runs(password, exitError, f.flags("login"), path, "mode 0755")
		}},
		{"world-readable record", true, func(f *fixture) {
			f.login()
			f.chmod(f.record(), 0o644)
			f.runs("", exitError, f.flags("get", "/api/orders"), "the stored login cannot be used", f.record(), "0600")
		}},
		{"world-readable key", true, func(f *fixture) {
			f.login()
			path := filepath.Join(f.dir, "secret.key")
			f.chmod(path, 0o644)
			f.runs("", exitError, f.flags("status"), path, "mode 0644", "0600")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.unix && runtime.GOOS == "windows" {
				t.Skip("modes mean nothing here")
			}
			t.Parallel()
			c.play(newFixture(t))
		})
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"demo"}, strings.NewReader(""), &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Fatalf("status %d, %s\n%s", code, stderr.String(), stdout.String())
	}
}

var told = storytest.Story{
	Run: demo, // which the program does if it is told nothing
	Lines: []string{
		"Nobody has logged in yet:", "$ cli get /api/orders", "log in first", "(exit status 3)",
		"$ cli login", "alice is logged in at http://",
		"$ cli get /api/orders", `"subject":"alice"`,
		"$ cli status", "Access token: expired;",
		"Two processes at the same time", `"path":"/api/orders"`, `"path":"/api/invoices"`, "The server counted one refresh",
		"$ cli status", "Access token: good until",
		"$ cli logout", "alice is logged out",
		"log in first", "(exit status 3)",
		"All as told. The server counted: logins 1, refreshes ",
	},
	Secrets: secrets,
	Varies:  []string{`-dir \S+`, `good until .*$`},
	Sleeps:  true,
}

func TestStory(t *testing.T) { told.Test(t) }

// TestProgram builds the program and uses it as a person does.
func TestProgram(t *testing.T) {
	t.Parallel()
	program := storytest.Build(t)
	f := newFixture(t)
	start := func(args ...string) (wait func(code int, want ...string)) {
		cmd := exec.CommandContext(t.Context(), program, f.flags(args...)...)
		var stdout, stderr strings.Builder
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(password+"\n"), &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func(code int, want ...string) {
			t.Helper()
			if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
				t.Fatal(err)
			}
			f.check(args, cmd.ProcessState.ExitCode(), code, stdout.String(), stderr.String(), want...)
		}
	}
	start("get", "/api/orders")(exitLogin, "log in first")
	start("dance")(exitUsage, "no command")
	start("login")(exitOK, "alice is logged in")
	start("status")(exitOK, "Access token: good until")

	f.server.RevokeAccess("alice")
	before := f.server.Counters()
	var waits []func(int, ...string)
	for i := range 8 {
		waits = append(waits, start("get", fmt.Sprintf("/api/%d", i)))
	}
	for i, wait := range waits {
		wait(exitOK, fmt.Sprintf(`"path":"/api/%d"`, i))
	}
	after := f.server.Counters()
	if n := after.Refreshes - before.Refreshes; n != 1 || after.Reuses != 0 {
		t.Errorf("8 processes: %d refreshes, %d reuses", n, after.Reuses)
	}

	start("logout")(exitOK, "alice is logged out")
	start("get", "/api/orders")(exitLogin, "log in first")
}
