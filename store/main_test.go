package store_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childRoles are what a child process can be. Test files add theirs in init; the
// arguments are those of startChild. A role talks with its parent through its
// standard input and output.
var childRoles = map[string]func(args []string){}

const childEnv = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		name, args, _ := strings.Cut(role, "\n")
		run := childRoles[name]
		if run == nil {
			panic("no child role " + name)
		}
		run(strings.Split(args, "\n"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A child is this test binary in another role.
type child struct {
	*exec.Cmd
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts the test binary in a role. change, if not nil, may change the
// command before. The child is killed, if it still lives, when the test ends.
func startChild(t *testing.T, change func(*exec.Cmd), role string, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(exe), t: t}
	c.Env = append(os.Environ(), childEnv+"="+strings.Join(append([]string{role}, args...), "\n"))
	c.Stderr = os.Stderr
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if change != nil {
		change(c.Cmd)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

// line waits for the next line that the child prints.
func (c *child) line() string {
	c.t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("child: %v after %q", err, s)
	}
	return strings.TrimSuffix(s, "\n")
}

// expect fails the test if the next line is another.
func (c *child) expect(want string) {
	c.t.Helper()
	if got := c.line(); got != want {
		c.t.Fatalf("child said %q, want %q", got, want)
	}
}

// tell writes a line to the child.
func (c *child) tell(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, s+"\n"); err != nil {
		c.t.Fatal(err)
	}
}
