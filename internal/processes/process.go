package processes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Process is the test's end of an agent.
type Process struct {
	Name string

	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when the agent is gone and all that it said is heard

	sending sync.Mutex // guards writes to stdin

	mu      sync.Mutex // guards all below
	last    int
	waiting map[int]chan Answer // by the ID of the order
	atWork  func(Answer)
	events  []Answer
	news    chan struct{} // closed and made anew with each event
	said    bytes.Buffer  // all, but for what came of work
}

// launch starts an agent that the caller has to end.
func launch(t testing.TB, s Settings) *Process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{
		Name: s.Name, cmd: exec.Command(exe),
		ended: make(chan struct{}), waiting: map[int]chan Answer{}, news: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), agentVariable+"="+string(text))
	p.cmd.Stderr = writer(p.note)
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
	return p
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func (p *Process) note(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
}

// transcript is all that the agent has said so far.
func (p *Process) transcript() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// listen hands out what the agent says until it has ended, and reaps it.
func (p *Process) listen(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a Answer
		err := json.Unmarshal(lines.Bytes(), &a)
		p.mu.Lock()
		atWork := p.atWork
		p.mu.Unlock()
		if err == nil && a.ID == workID {
			atWork(a)
			continue
		}
		p.note(append(lines.Bytes(), '\n'))
		if err != nil {
			continue // a panic, say
		}
		p.mu.Lock()
		if a.Event != "" {
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

// Kill is kill -9. It returns when the agent is gone, and all that it said is heard.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.stdin.Close()
}

// WaitEvent blocks until the agent has said event, and returns the first such.
func (p *Process) WaitEvent(t testing.TB, event string) Answer {
	t.Helper()
	return p.wait(t, fmt.Sprintf("%q", event), func(a Answer) bool { return a.Event == event })
}

// WaitFirst blocks until the agent is ready or has refused to start.
func (p *Process) WaitFirst(t testing.TB) Answer {
	t.Helper()
	return p.wait(t, "whether it is ready", func(Answer) bool { return true })
}

func (p *Process) waitReady(t testing.TB) {
	t.Helper()
	if a := p.WaitFirst(t); a.Event != "ready" {
		t.Fatalf("%s did not start: %s", p.Name, a.Err)
	}
}

// wait blocks until there is an event that matches.
func (p *Process) wait(t testing.TB, what string, match func(Answer) bool) Answer {
	t.Helper()
	limit := time.After(Patience)
	for {
		p.mu.Lock()
		events, news := p.events, p.news
		p.mu.Unlock()
		if i := slices.IndexFunc(events, match); i >= 0 {
			return events[i]
		}
		select {
		case <-news:
		case <-p.ended:
			// The last that it said comes before its end, and may be what is waited for.
			select {
			case <-news:
			default:
				t.Fatalf("%s has ended and did not say %s:\n%s", p.Name, what, p.transcript())
			}
		case <-limit:
			t.Fatalf("%s does not say %s:\n%s", p.Name, what, p.transcript())
		}
	}
}

// Pending is an order under way.
type Pending struct {
	Process *Process
	C       <-chan Answer // receives the answer
	do      string
}

// Order tells the agent to do something and does not wait.
func (p *Process) Order(t testing.TB, o Order) *Pending {
	t.Helper()
	c := make(chan Answer, 1)
	p.mu.Lock()
	p.last++
	o.ID = p.last
	p.waiting[o.ID] = c
	p.mu.Unlock()
	p.send(t, o)
	return &Pending{p, c, o.Do}
}

// OrderAll tells all agents to do the same.
func OrderAll(t testing.TB, all []*Process, o Order) []*Pending {
	t.Helper()
	pending := make([]*Pending, len(all))
	for i, p := range all {
		pending[i] = p.Order(t, o)
	}
	return pending
}

// Work has the agent make one request after another with each account, for ever. What
// comes of them is passed to hear, one at a time. It is not kept: there is much of it.
func (p *Process) Work(t testing.TB, o Order, hear func(Answer)) {
	t.Helper()
	p.mu.Lock()
	p.atWork = hear
	p.mu.Unlock()
	o.ID, o.Do = workID, "get"
	p.send(t, o)
}

// workID is the ID of the order to work. Others are positive.
const workID = -1

func (p *Process) send(t testing.TB, o Order) {
	t.Helper()
	line, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %s: %v\n%s", p.Name, o.Do, err, p.transcript())
	}
}

// Wait blocks until the agent has answered.
func (q *Pending) Wait(t testing.TB) Answer {
	t.Helper()
	select {
	case a := <-q.C:
		return a
	case <-q.Process.ended:
		select {
		case a := <-q.C:
			return a
		default:
		}
		t.Fatalf("%s ended during %q:\n%s", q.Process.Name, q.do, q.Process.transcript())
	case <-time.After(Patience):
		t.Fatalf("%s does not answer %q:\n%s", q.Process.Name, q.do, q.Process.transcript())
	}
	panic("not reached")
}

// Do has the agent do something, and blocks until it has answered.
func (p *Process) Do(t testing.TB, o Order) Answer {
	t.Helper()
	return p.Order(t, o).Wait(t)
}

// Get has the agent make a request.
func (p *Process) Get(t testing.TB) Answer {
	t.Helper()
	return p.Do(t, Order{Do: "get"})
}

// Login is a login in this process.
func (p *Process) Login(t testing.TB, token *tokenclient.Token) {
	t.Helper()
	p.Do(t, Order{Do: "login", Token: NewWireToken(token)}).Want(t, "login")
}
