package dpop_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const childVariable = "SILENTREFRESH_TEST_DPOP"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(childVariable); ok {
		if err := child(text); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// settings are what a child is told.
type settings struct {
	URL, Dir string
	Login    bool // it has logged in; else client credentials do
}

// child is a process that makes one request when a line comes, and says with which key.
func child(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	session, client, err := s.session()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	token, err := session.Peek(ctx)
	if err != nil {
		return err
	}
	fmt.Println(resp.StatusCode, token.Binding)
	return session.Close(ctx)
}

func (s settings) session() (*tokenclient.Session, *http.Client, error) {
	key, err := store.LoadOrCreateKeyFile(filepath.Join(s.Dir, "secret.key"))
	if err != nil {
		return nil, nil, err
	}
	files, err := store.NewFile(filepath.Join(s.Dir, "tokens"), store.Seal(key))
	if err != nil {
		return nil, nil, err
	}
	proofs := new(dpop.Prover)
	refresher := &tokenclient.OAuth2Refresher{
		TokenURL: s.URL + "/oauth/token", ClientAuth: tokenclient.PublicClient("app"), Binder: proofs,
		HTTPClient: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			fmt.Println("calling")
			return http.DefaultTransport.RoundTrip(req)
		})},
	}
	if !s.Login {
		refresher.Grant = credentials{}
	}
	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, Attacher: proofs, Store: files, Key: "app", Origins: []string{s.URL}, RefreshTimeout: 5 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	return session, session.Client(), nil
}

// A process is a child that runs.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	begin func()
}

func start(t *testing.T, s settings) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
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
	p := &process{cmd: cmd, lines: bufio.NewScanner(out), begin: func() { _, _ = in.Write([]byte("go\n")) }}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p.want(t, "ready")
	return p
}

// want reads the next line.
func (p *process) want(t *testing.T, want string) {
	t.Helper()
	if !p.lines.Scan() || p.lines.Text() != want {
		t.Fatalf("%q, %v, want %q", p.lines.Text(), p.lines.Err(), want)
	}
}

// end returns the last line, and how many calls there were before it.
func (p *process) end() (last string, calls int) {
	for p.lines.Scan() {
		if last = p.lines.Text(); last == "calling" {
			calls++
		}
	}
	return last, calls
}

// TestProcesses: processes that share a store and need no login make one key, and each uses it;
// one that is killed when it has made a key, and has no token yet, leaves a store that works.
func TestProcesses(t *testing.T) {
	server := tokentest.NewServer(t, &tokentest.Options{DPoP: &tokentest.DPoP{TokenNonce: true, NonceUses: 1}})
	s := settings{URL: server.URL, Dir: t.TempDir()}
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		s.Dir = t.TempDir()
		server.Set(func(o *tokentest.Options) { o.Latency = time.Hour })
		killed := start(t, s)
		killed.begin()
		killed.want(t, "calling") // and is refused, for it has no nonce
		killed.want(t, "calling") // and gets no answer
		if err := killed.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = killed.cmd.Wait()
		server.Set(func(o *tokentest.Options) { o.Latency = 0 })

		two := []*process{start(t, s), start(t, s)}
		for _, p := range two {
			p.begin()
		}
		var said []string
		calls := 0
		for _, p := range two {
			last, n := p.end()
			said, calls = append(said, last), calls+n
		}
		if said[0] != said[1] || !strings.HasPrefix(said[0], "200 key:ES256:") || calls != 2 {
			t.Fatalf("%q after %d calls", said, calls)
		}
	}
}

// TestProcessesLogin: the key of a login is there for each process that shares the store, and
// two that find the token refused make one refresh.
func TestProcessesLogin(t *testing.T) {
	server := tokentest.NewServer(t, &tokentest.Options{DPoP: &strict})
	s := settings{URL: server.URL, Dir: t.TempDir(), Login: true}
	session, _, err := s.session()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(context.WithoutCancel(t.Context())) }()
	binding, thumbprint, err := new(dpop.Prover).NewBinding()
	if err != nil {
		t.Fatal(err)
	}
	token := server.IssueBound("alice", thumbprint)
	token.Binding, token.Issued = binding, time.Now().Add(-time.Minute)
	if err := session.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	server.RevokeAccess("alice")
	two := []*process{start(t, s), start(t, s)}
	for _, p := range two {
		p.begin()
	}
	for _, p := range two {
		if last, _ := p.end(); last != "200 "+binding {
			t.Errorf("%.30q", last)
		}
	}
	if c := server.Counters(); c.Refreshes != 1 || c.Reuses != 0 || c.BadProofs != 0 {
		t.Errorf("%+v", c)
	}
	// What is stored shows no key.
	err = filepath.WalkDir(s.Dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), binding[10:60]) {
			err = errors.New("the key is in a file as it is")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
