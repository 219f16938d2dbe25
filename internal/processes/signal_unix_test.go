//go:build unix

package processes_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// frame is a program that makes requests until a signal comes. What makes its client is
// between the two halves, and closes what it made with a context that has ended by then.
const frame = `package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var _ *slog.Logger // one half needs it

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(api, dir string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

%s

	fmt.Println("ready")
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, "alice"), http.MethodGet, api+"/api/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		switch {
		case err == nil:
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		case errors.Is(err, tokenclient.ErrLoginRequired):
			return err
		}
	}
	return nil
}
`

// ofAPool is what the README's code would be with a Pool, from where it makes the session on.
const ofAPool = `
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: files,
		Config: func(context.Context, string) (tokenclient.Config, error) {
			return tokenclient.Config{
				Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
				Origins:   []string{api},
			}, nil
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(ctx)) }()
	client := pool.Wrap(http.DefaultClient)`

// ofTheReadme is the code that the README has for a session, to the letter.
func ofTheReadme(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(readme), "```go\n")[1:] {
		if block, _, _ = strings.Cut(block, "```"); strings.Contains(block, "session.Close(") {
			return block
		}
	}
	t.Fatal("the README has no code that closes a session")
	return ""
}

// build builds what is at path, and returns the program.
func build(t *testing.T, path string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, path).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", path, err, out)
	}
	return program
}

// framed builds the program of which body is the middle.
func framed(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(path, fmt.Appendf(nil, frame, body), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, path)
}

// A signalled is a program that is sent signals. Each time its first request begins a refresh.
type signalled struct {
	program string

	// args are its arguments; login, if not nil, those with which it logs in.
	args, login func(l *signalLane) []string

	// ready says that it prints a line when it begins to make requests. Any program ends
	// without an error, or because of the signal.
	ready bool
}

// TestSignals sends SIGINT and SIGTERM at random instants to programs that refresh, against a
// server that ends the session when a refresh token comes twice: a program around the
// README's own code, one with a Pool, and the commands of examples/cli. (The other examples
// bring along the server, whose sessions end with it.) Before Close waited for a token that
// was presented, whatever became of its context, the login was lost whenever the signal came
// with the answer on its way.
func TestSignals(t *testing.T) {
	t.Parallel()
	framedArgs := func(l *signalLane) []string { return []string{l.srv.URL, l.dir} }
	cli := func(command ...string) func(*signalLane) []string {
		return func(l *signalLane) []string {
			return append([]string{"-api", l.srv.URL, "-user", "alice", "-dir", l.dir}, command...)
		}
	}
	readme := ofTheReadme(t)
	files, _, _ := strings.Cut(readme, "session, err := ")
	for name, s := range map[string]signalled{
		"readme": {program: framed(t, readme), args: framedArgs, ready: true},
		"pool":   {program: framed(t, files+ofAPool), args: framedArgs, ready: true},
		"cli":    {program: build(t, "../../examples/cli"), args: cli("get", "/api/orders"), login: cli("login")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.test(t)
		})
	}
}

func (s signalled) test(t *testing.T) {
	const lanes = 4
	runs := 200
	if testing.Short() {
		runs = 20
	}
	var mu sync.Mutex
	var during, lost int
	var all [lanes]*signalLane
	var wg sync.WaitGroup
	for lane := range lanes {
		l := s.newLane(t)
		all[lane] = l
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(lane)))
			for i := range runs / lanes {
				refreshing := l.run(t, i, random)
				mu.Lock()
				if refreshing {
					during++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, l := range all {
		l.wantAlive(t)
		lost += l.srv.Counters().Reuses
	}
	t.Logf("%s: %d programs were sent a signal, %d of them when it had begun a refresh; spent tokens that came again: %d", t.Name(), runs, during, lost)
	if lost > 0 || during == 0 {
		t.Error("want none, and some that had begun a refresh")
	}
}

// signalLane is one user whose program is started again and again.
type signalLane struct {
	signalled
	srv  *tokentest.Server
	dir  string
	wait time.Duration // signals come within it
}

// newLane logs the user in.
func (s signalled) newLane(t *testing.T) *signalLane {
	srv := tokentest.NewServer(t, &tokentest.Options{Latency: 20 * time.Millisecond})
	l := &signalLane{s, srv, t.TempDir(), 100 * time.Millisecond}
	if s.login != nil {
		l.srv.AddUser("alice", "secret")
		cmd := exec.Command(s.program, s.login(l)...)
		cmd.Stdin = strings.NewReader("secret\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("login: %v\n%s", err, out)
		}
		return l
	}
	key, err := store.LoadOrCreateKeyFile(filepath.Join(l.dir, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := store.NewFile(filepath.Join(l.dir, "tokens"), store.Seal(key))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := files.Replace(t.Context(), "alice", l.srv.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	return l
}

// start starts the program, whose first request begins a refresh: at once if that is of the
// login's token, and else some two seconds later, for the server may not know yet a token that
// is as new. said is what it prints.
func (l *signalLane) start(t *testing.T) (cmd *exec.Cmd, said *bufio.Reader) {
	l.srv.RevokeAccess("alice")
	cmd = exec.Command(l.program, l.args(l)...)
	out, err := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	said = bufio.NewReader(out)
	if l.ready {
		if line, err := said.ReadString('\n'); line != "ready\n" {
			t.Errorf("the program said %q, error %v", line, err)
		}
	}
	return cmd, said
}

// run starts the program and sends it a signal. It reports whether the signal came after the
// server had the refresh token. How soon a program gets there is a matter of the machine and of
// what else it does: the next signal comes later if this one came before, and sooner if not.
func (l *signalLane) run(t *testing.T, i int, random *rand.Rand) (refreshing bool) {
	before := l.srv.Counters().Refreshes
	cmd, said := l.start(t)
	if cmd == nil {
		return false
	}
	timer := time.NewTimer(time.Duration(random.Int64N(int64(l.wait))))
	defer timer.Stop()
	<-timer.C
	_ = cmd.Process.Signal([]os.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2])
	at := l.srv.Counters().Refreshes
	if at > before {
		l.wait = max(l.wait*4/5, 20*time.Millisecond)
	} else {
		l.wait = min(l.wait*5/4, 10*time.Second)
	}
	rest, _ := io.ReadAll(said)
	err := cmd.Wait()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	early := !l.ready && status.Signaled()              // before it could listen for signals
	interrupted := string(rest) == "cli: interrupted\n" // as examples/cli ends
	if err != nil && !early && !interrupted || strings.Contains(string(rest), "log in") {
		t.Errorf("the program ended with %v: %s", err, rest)
	}
	return at > before
}

// wantAlive checks that the session goes on.
func (l *signalLane) wantAlive(t *testing.T) {
	t.Helper()
	served := func() int { c := l.srv.Counters(); return c.Requests - c.Unauthorized }
	before := served()
	cmd, said := l.start(t)
	if cmd == nil {
		return
	}
	if l.ready {
		processes.Eventually(t, "a request is served", func() bool { return served() > before })
		_ = cmd.Process.Signal(syscall.SIGINT)
	}
	rest, _ := io.ReadAll(said)
	if err := cmd.Wait(); err != nil || served() == before {
		t.Errorf("the session is lost: %v: %s", err, rest)
	}
}
