package fleet_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen. It is no measure of
// anything: a machine that is busy is slow.
const patience = time.Minute

// process is the test's end of a member.
type process struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stderr  bytes.Buffer // to be read after ended is closed
	reports chan report  // closed when the member has ended
	ended   chan struct{}
}

// launch starts a member, which is ready when it says so. Its reports must be taken.
func launch(t testing.TB, s settings) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		name: s.Name, cmd: exec.Command(exe),
		reports: make(chan report, 16), ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), memberEnv+"="+string(text))
	p.cmd.Stderr = &p.stderr
	// If the test dies while a member is stopped, its group is orphaned, and the kernel
	// then hangs up on it; others notice that standard input ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
		if t.Failed() && p.stderr.Len() > 0 {
			t.Logf("%s said:\n%s", p.name, p.stderr.Bytes())
		}
	})
	return p
}

// listen passes on what the member says, and reaps it.
func (p *process) listen(out io.Reader) {
	defer close(p.ended)
	defer close(p.reports)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			p.reports <- r
		}
	}
	_ = p.cmd.Wait() // that it was killed is no news
}

// kill is kill -9. It returns when the member is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.reports {
	}
	<-p.ended
	_ = p.stdin.Close()
}

func (p *process) stop()   { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) order(t testing.TB, o order) {
	t.Helper()
	line, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %s: %v", p.name, o.Do, err)
	}
}

// next waits for what the member says next.
func (p *process) next(t testing.TB) report {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r, ok := <-p.reports:
		if !ok {
			<-p.ended
			t.Fatalf("%s has ended:\n%s", p.name, p.stderr.Bytes())
		}
		return r
	case <-timer.C:
		t.Fatalf("%s says nothing", p.name)
	}
	panic("not reached")
}
