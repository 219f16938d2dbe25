package processes_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// patience is how long a test waits for what must happen. It is no measure of
// anything: a machine that is busy is slow.
const patience = time.Minute

// eventually waits for a condition outside of this process.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	pause := 2 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		pause = min(2*pause, 50*time.Millisecond)
		tick.Reset(pause)
	}
}

const account = "default"

var sealKey = bytes.Repeat([]byte{7}, 32)

// world is a server, its gate, and a folder that agents share.
type world struct {
	srv   *tokentest.Server
	gate  *gate
	dir   string
	files *store.File
	base  settings // of all agents
	count int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{srv: tokentest.NewServer(t, nil)}
	w.gate = newGate(t, w.srv)
	w.dir = filepath.Join(t.TempDir(), "tokens")
	w.base = settings{
		URL: w.gate.URL, Dir: w.dir, Account: account,
		KeyID: "test", SealKey: sealKey, RefreshTimeout: 20 * time.Second,
	}
	w.files = w.open(t)
	return w
}

// file is where the record of name is.
func (w *world) file(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(w.dir, hex.EncodeToString(sum[:]))
}

// open opens the folder as agents do.
func (w *world) open(t testing.TB) *store.File {
	t.Helper()
	key, err := store.KeyBytes(w.base.KeyID, w.base.SealKey)
	if err != nil {
		t.Fatal(err)
	}
	files, err := store.NewFile(w.dir, store.Seal(key))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// issue makes a token of user's and takes care that nobody says it aloud.
func (w *world) issue(user string) *tokenclient.Token {
	t := w.srv.Issue(user)
	w.gate.note(func() { w.gate.secrets = append(w.gate.secrets, t.AccessToken, t.RefreshToken) })
	return t
}

// login stores a token of user's that is good for a while.
func (w *world) login(t testing.TB, user string) *tokenclient.Token {
	t.Helper()
	token := w.issue(user)
	w.put(t, token)
	return token
}

// loginExpired stores a token of user's that has expired an hour ago, at the
// server too.
func (w *world) loginExpired(t testing.TB, user string) *tokenclient.Token {
	t.Helper()
	w.srv.Set(func(o *tokentest.Options) { o.AccessLifetime = -time.Hour })
	token := w.issue(user)
	w.srv.Set(func(o *tokentest.Options) { o.AccessLifetime = 0 })
	token.Issued = token.Expiry.Add(-15 * time.Minute)
	w.put(t, token)
	return token
}

// put is a login by a process that ends at once.
func (w *world) put(t testing.TB, token *tokenclient.Token) {
	t.Helper()
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: w.srv.JSONRefresher(), Store: w.files, Key: account, Origins: []string{w.gate.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// stored is what the folder holds, tombstones included.
func (w *world) stored(t testing.TB) tokenclient.Record {
	t.Helper()
	r, err := w.files.Load(t.Context(), account)
	if err != nil && !errors.Is(err, tokenclient.ErrNoToken) {
		t.Fatal(err)
	}
	return r
}

func (w *world) wantStored(t testing.TB, state tokenclient.State, number uint64) tokenclient.Record {
	t.Helper()
	r := w.stored(t)
	if r.State != state || r.Number != number {
		t.Errorf("stored: %v, number %d; want %v, number %d", r.State, r.Number, state, number)
	}
	return r
}

// wantRefreshes compares the server's counters.
func (w *world) wantRefreshes(t testing.TB, refreshes, reuses int) {
	t.Helper()
	w.gate.history() // none is under way
	if c := w.srv.Counters(); c.Refreshes != refreshes || c.Reuses != reuses {
		t.Errorf("%d refreshes with %d reuses, want %d with %d", c.Refreshes, c.Reuses, refreshes, reuses)
	}
}

// wantSilent searches text for tokens.
func (w *world) wantSilent(t testing.TB, what, text string) {
	t.Helper()
	var secrets []string
	w.gate.note(func() { secrets = slices.Clone(w.gate.secrets) })
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%s shows a token", what)
		}
	}
}

// process is the test's end of an agent.
type process struct {
	w     *world
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	began answer // the first thing it said

	sending sync.Mutex // guards writes to stdin
	ended   chan struct{}

	mu      sync.Mutex // guards all below
	last    int
	waiting map[int]chan answer
	events  []answer
	news    chan struct{} // closed and made anew with each event
	said    bytes.Buffer  // standard output and standard error
}

// start starts an agent and waits until it is ready. A nil change leaves the
// settings as they are.
func (w *world) start(t testing.TB, change func(*settings)) *process {
	t.Helper()
	p := w.launch(t, change)
	p.waitReady(t)
	return p
}

// startAll starts n agents at the same time.
func (w *world) startAll(t testing.TB, n int, change func(*settings)) []*process {
	t.Helper()
	all := make([]*process, n)
	for i := range all {
		all[i] = w.launch(t, change)
	}
	for _, p := range all {
		p.waitReady(t)
	}
	return all
}

func (w *world) launch(t testing.TB, change func(*settings)) *process {
	t.Helper()
	s := w.base
	w.count++
	s.Name = fmt.Sprintf("agent-%d", w.count)
	if change != nil {
		change(&s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		w: w, name: s.Name, cmd: exec.Command(exe),
		ended: make(chan struct{}), waiting: map[int]chan answer{}, news: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), agentEnv+"="+string(text))
	p.cmd.Stderr = writer(p.hear)
	apart(p.cmd)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	t.Cleanup(func() {
		p.kill()
		said := p.transcript()
		w.wantSilent(t, "what "+p.name+" said", said)
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, said[max(0, len(said)-4096):])
		}
	})
	return p
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func (p *process) hear(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
}

func (p *process) transcript() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// listen hands out what the agent says until it has ended, and reaps it.
func (p *process) listen(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.hear(append(lines.Bytes(), '\n'))
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue // a panic, say
		}
		p.mu.Lock()
		if a.ID == 0 {
			p.events = append(p.events, a)
			close(p.news)
			p.news = make(chan struct{})
		} else if c := p.waiting[a.ID]; c != nil {
			c <- a
		}
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // that it was killed is no news
}

// kill is kill -9. It returns when the agent is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.stdin.Close()
}

// waitEvent blocks until the agent has said event, and returns the first such.
func (p *process) waitEvent(t testing.TB, event string) answer {
	t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		i := slices.IndexFunc(p.events, func(a answer) bool { return a.Event == event })
		news := p.news
		var a answer
		if i >= 0 {
			a = p.events[i]
		}
		p.mu.Unlock()
		if i >= 0 {
			return a
		}
		select {
		case <-news:
		case <-p.ended:
			t.Fatalf("%s ended without %q:\n%s", p.name, event, p.transcript())
		case <-limit:
			t.Fatalf("%s does not say %q:\n%s", p.name, event, p.transcript())
		}
	}
}

func (p *process) waitReady(t testing.TB) {
	t.Helper()
	if a := p.waitFirst(t); a.Event != "ready" {
		t.Fatalf("%s did not start: %s", p.name, a.Err)
	}
}

// waitFirst blocks until the agent is ready or has refused to start.
func (p *process) waitFirst(t testing.TB) answer {
	t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		news := p.news
		if len(p.events) > 0 {
			p.began = p.events[0]
		}
		p.mu.Unlock()
		if p.began.Event != "" {
			return p.began
		}
		select {
		case <-news:
		case <-p.ended:
			t.Fatalf("%s ended at once:\n%s", p.name, p.transcript())
		case <-limit:
			t.Fatalf("%s does not start:\n%s", p.name, p.transcript())
		}
	}
}

// pending is an order under way.
type pending struct {
	p      *process
	do     string
	answer chan answer
}

// order tells the agent to do something and does not wait.
func (p *process) order(t testing.TB, o order) *pending {
	t.Helper()
	p.mu.Lock()
	p.last++
	o.ID = p.last
	c := make(chan answer, 1)
	p.waiting[o.ID] = c
	p.mu.Unlock()
	line, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %s: %v\n%s", p.name, o.Do, err, p.transcript())
	}
	return &pending{p, o.Do, c}
}

// wait blocks until the agent has answered.
func (q *pending) wait(t testing.TB) answer {
	t.Helper()
	select {
	case a := <-q.answer:
		return a
	case <-q.p.ended:
		select {
		case a := <-q.answer:
			return a
		default:
		}
		t.Fatalf("%s ended during %q:\n%s", q.p.name, q.do, q.p.transcript())
	case <-time.After(patience):
		t.Fatalf("%s does not answer %q:\n%s", q.p.name, q.do, q.p.transcript())
	}
	panic("not reached")
}

// failed reports whether there was an answer, and an error in it, before the
// agent was killed.
func (q *pending) failed() bool {
	select {
	case a := <-q.answer:
		return a.Err != ""
	default:
		return false
	}
}

func (p *process) do(t testing.TB, o order) answer {
	t.Helper()
	return p.order(t, o).wait(t)
}

func (p *process) get(t testing.TB) answer {
	t.Helper()
	return p.do(t, order{Do: "get"})
}

// login is a login in this process.
func (p *process) login(t testing.TB, token *tokenclient.Token) {
	t.Helper()
	p.do(t, order{Do: "login", Token: &wireToken{
		Access: token.AccessToken, Refresh: token.RefreshToken, Type: token.TokenType,
		Expiry: token.Expiry, RefreshExpiry: token.RefreshExpiry, Issued: token.Issued,
	}}).want(t, "login")
}

func (a answer) is(kind string) bool { return slices.Contains(a.Is, kind) }

// want fails the test unless the order succeeded.
func (a answer) want(t testing.TB, what string) {
	t.Helper()
	if a.Err != "" {
		t.Errorf("%s: %s %q", what, a.Err, a.Is)
	}
}

// wantOK fails the test unless a request was answered for user.
func (a answer) wantOK(t testing.TB, what, user string) {
	t.Helper()
	if a.Err != "" || a.Status != 200 || a.Subject != user {
		t.Errorf("%s: status %d for %q, error %q %q; want 200 for %q", what, a.Status, a.Subject, a.Err, a.Is, user)
	}
}

// wantKind fails the test unless the order failed with an error of that kind.
func (a answer) wantKind(t testing.TB, what, kind string) {
	t.Helper()
	if !a.is(kind) {
		t.Errorf("%s: status %d, error %q, which is %q; want %s", what, a.Status, a.Err, a.Is, kind)
	}
}

// wantEndedAll fails the test if one of the refresh tokens still buys anything,
// or one of the access tokens is still accepted. It spends them.
func (w *world) wantEndedAll(t testing.TB, calls []call) {
	t.Helper()
	for _, c := range calls {
		if !c.rotated() {
			continue
		}
		_, err := w.srv.JSONRefresher().Refresh(t.Context(), &tokenclient.Token{AccessToken: c.Access, RefreshToken: c.Refresh})
		if !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("a refresh token that %s got is still good at the server (%v)", c.Agent, err)
		}
	}
}
