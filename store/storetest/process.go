package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Child processes run the test binary again, with the test that called Run. What
// they are to do, and where, travels by environment; they talk to their parent in
// lines.
const (
	envRole    = "STORETEST_ROLE"
	envAddress = "STORETEST_ADDRESS"
)

// processRows are the expectations that two processes at a time can see.
var processRows = []row{
	{"one fn for many processes", "two processes that present the same refresh token end the session", func(c *check) {
		c.login("1")
		calls := 0
		for _, p := range c.startAll(4, "refresh once") {
			calls += p.number("calls")
			if n := p.number("number"); n != 2 {
				c.errorf("a process ended with number %d, want 2", n)
			}
			p.end()
		}
		if calls != 1 {
			c.errorf("fn was called %d times, want once", calls)
		}
	}},
	{"no refresh of a process is lost", "a lost write is a spent token that looks like a good one", func(c *check) {
		c.login("1")
		const processes, refreshes = 4, 10
		for _, p := range c.startAll(processes, fmt.Sprintf("refresh %d times", refreshes)) {
			p.end()
		}
		r, err := c.store.Load(c.ctx(), key)
		if want := uint64(1 + processes*refreshes); err != nil || r.Number != want || r.Token.AccessToken != fmt.Sprint(want) {
			c.errorf("number %d, error %v; want %d", r.Number, err, want)
		}
	}},
	{"a process that dies in fn", "its tokens would be locked away from all others, or presented as if nothing had happened", func(c *check) {
		seen := c.login("1")
		p := c.start("hang in fn")
		p.want("in fn")
		p.kill()
		r, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
			if r.Announced != 2 {
				c.errorf("announced %d; want 2: the dead process may have spent the token", r.Announced)
			}
			return token("2"), nil
		})
		if err != nil || r.Number != 2 {
			c.errorf("Refresh: number %d, error %v; want 2", r.Number, err)
		}
	}},
	{"logout in another process during fn", "the user logs out in one window, and the other one logs in again", func(c *check) {
		c.login("1")
		p := c.start("hang in fn")
		p.want("in fn")
		if _, _, err := c.store.Replace(c.ctx(), key, nil); err != nil {
			c.errorf("Replace: %v", err)
		}
		p.say("return")
		p.want("replaced")
		p.end()
		c.wantLoad(tokenclient.Record{State: tokenclient.LoggedOut})
	}},
}

// child plays role in a child process and ends it.
func child(t testing.TB, h Harness, role string) {
	store := h.Open(t, os.Getenv(envAddress))
	ctx := t.Context()
	in := bufio.NewReader(os.Stdin)
	say := func(format string, args ...any) { fmt.Printf(linePrefix+format+"\n", args...) }
	// The parent's end of stdin closes when it dies, so that no child is left.
	hear := func() {
		if _, err := in.ReadString('\n'); err != nil {
			os.Exit(3)
		}
	}
	die := func(err error) {
		say("error: %v", err)
		os.Exit(1)
	}
	switch role {
	case "hang in fn":
		seen, err := store.Load(ctx, key)
		if err != nil {
			die(err)
		}
		_, err = store.Refresh(ctx, key, seen, hangTimeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			say("in fn")
			hear()
			return token("late"), nil
		})
		if !errors.Is(err, tokenclient.ErrReplaced) {
			die(err)
		}
		say("replaced")
	default:
		times := 1
		if role != "refresh once" {
			times, _ = strconv.Atoi(strings.Fields(role)[1])
		}
		seen, err := store.Load(ctx, key)
		if err != nil {
			die(err)
		}
		say("ready")
		hear()
		calls, last := 0, seen
		for calls < times {
			last, err = store.Refresh(ctx, key, seen, timeout, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
				calls++
				return &tokenclient.Token{AccessToken: fmt.Sprint(r.Number + 1), RefreshToken: "r"}, nil
			})
			if err != nil {
				die(err)
			}
			seen = last
			if role == "refresh once" {
				break
			}
		}
		say("calls %d", calls)
		say("number %d", last.Number)
	}
	os.Exit(0)
}

// hangTimeout is short, because others wait for as long after the death of a
// process in fn.
const hangTimeout = timeout / 10

const linePrefix = "storetest: "

// A process is a child of a row.
type process struct {
	c     *check
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	ended bool
}

// start starts a child with a role.
func (c *check) start(role string) *process {
	c.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run="+selector(c.t.Name()), "-test.count=1")
	cmd.Env = append(os.Environ(), envRole+"="+role, envAddress+"="+c.address)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.fatalf("start a process: %v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.fatalf("start a process: %v", err)
	}
	if err := cmd.Start(); err != nil {
		c.fatalf("start a process: %v", err)
	}
	p := &process{c: c, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	c.t.Cleanup(p.kill)
	return p
}

// startAll starts n children with a role, which begin at the same time.
func (c *check) startAll(n int, role string) []*process {
	c.t.Helper()
	children := make([]*process, n)
	for i := range children {
		children[i] = c.start(role)
	}
	for _, p := range children {
		p.want("ready")
	}
	for _, p := range children {
		p.say("go")
	}
	return children
}

// selector selects the test that called Run, which is all but the last element of
// the name of one of its rows.
func selector(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts[:max(1, len(parts)-1)], "/")
}

// line returns the next line that the child says.
func (p *process) line() string {
	p.c.t.Helper()
	for p.out.Scan() {
		// The test binary prints lines of its own.
		if text, ok := strings.CutPrefix(p.out.Text(), linePrefix); ok {
			return text
		}
	}
	p.c.fatalf("a process ended too early (%v)", p.out.Err())
	return ""
}

func (p *process) want(text string) {
	p.c.t.Helper()
	if got := p.line(); got != text {
		p.c.fatalf("a process says %q, want %q", got, text)
	}
}

// number returns the number that follows name in the next line.
func (p *process) number(name string) int {
	p.c.t.Helper()
	line := p.line()
	text, ok := strings.CutPrefix(line, name+" ")
	n, err := strconv.Atoi(text)
	if !ok || err != nil {
		p.c.fatalf("a process says %q, want %q and a number", line, name)
	}
	return n
}

func (p *process) say(text string) {
	p.c.t.Helper()
	if _, err := io.WriteString(p.in, text+"\n"); err != nil {
		p.c.fatalf("tell a process: %v", err)
	}
}

// end waits for the child to end well.
func (p *process) end() {
	p.c.t.Helper()
	for p.out.Scan() { // Wait closes the pipe
		if text, ok := strings.CutPrefix(p.out.Text(), linePrefix+"error: "); ok {
			p.c.errorf("a process failed: %s", text)
		}
	}
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		p.c.errorf("a process failed: %v", err)
	}
}

// kill ends the child as it is, if it has not ended.
func (p *process) kill() {
	if !p.ended {
		p.ended = true
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}
