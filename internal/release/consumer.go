package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// program is what the README leaves out around its first block of Go: the login and a
// request. It is the whole of a user's program.
const program = `package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"%[1]s/store"
	"%[1]s/tokenclient"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir, api string) (err error) {
%[2]s
	if _, err := session.Token(ctx); errors.Is(err, tokenclient.ErrLoginRequired) {
		token, err := (&tokenclient.PasswordLogin{URL: api + "/login"}).Login(ctx, "alice", "secret")
		if err != nil {
			return err
		}
		if err := session.SetToken(ctx, token); err != nil {
			return err
		}
	}
	resp, err := client.Get(api + "/api/things")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	return nil
}
`

// programTest is that user's test.
const programTest = `package main

import (
	"context"
	"testing"

	"%[1]s/tokenclient/tokentest"
)

func TestRun(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	srv.AddUser("alice", "secret")
	dir := t.TempDir()
	for range 2 {
		if err := run(context.Background(), dir, srv.URL); err != nil {
			t.Fatal(err)
		}
	}
	srv.RevokeAccess("alice")
	if err := run(context.Background(), dir, srv.URL); err != nil {
		t.Fatal(err)
	}
	if n := srv.Counters().Refreshes; n != 1 {
		t.Errorf("%%d refreshes", n)
	}
}
`

// A consumer is somebody outside the repository, who has a proxy and an empty folder.
type consumer struct {
	tree    *tree
	tmp     string
	version string
	env     []string // besides this process's own
	out     io.Writer
}

// consume packs the tree under version and uses each module as a stranger would.
func consume(ctx context.Context, root, version string, out io.Writer) (err error) {
	t, err := readTree(ctx, root)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "consumer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	proxy := filepath.Join(tmp, "proxy")
	if err := t.pack(proxy, version); err != nil {
		return err
	}
	c := &consumer{tree: t, tmp: tmp, version: version, out: out}
	if err := c.setEnv(ctx, proxy); err != nil {
		return err
	}
	fmt.Fprintf(out, "%-24s %-12s %8s %8s %8s\n", "go get", "version", "go.sum", "modules", "linked")
	for _, m := range t.modules {
		if !m.public() {
			continue
		}
		use := c.use
		if m.program() {
			use = c.install
		}
		if err := use(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return nil
}

// setEnv has the go command take our modules from proxy and others from where this machine
// takes them, the module cache first. With -trimpath the build cache serves the next run too.
//
// All modules share a module cache, as those of a user do, and it is not the machine's, for
// what is downloaded under the test's version must not stay. GONOPROXY is set, as GOPRIVATE
// is at many a company: the go command then asks its cache before any proxy, finds the core
// there, and gives up on an exact version of a module inside it (golang/go#56974).
func (c *consumer) setEnv(ctx context.Context, proxy string) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOPROXY", "GOMODCACHE", "GONOSUMDB").Output()
	if err != nil {
		return err
	}
	machine := strings.Split(string(out), "\n")
	cache := filepath.ToSlash(filepath.Join(machine[1], "cache", "download"))
	noSum := strings.Trim(c.tree.core().path+","+c.tree.core().path+"/*,"+machine[2], ",")
	c.env = []string{"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw -trimpath", "GONOPROXY=none",
		"GOPROXY=file://" + filepath.ToSlash(proxy) + ",file://" + cache + "," + machine[0],
		"GONOSUMDB=" + noSum,
		"GOMODCACHE=" + filepath.Join(c.tmp, "modules"),
		"GOBIN=" + filepath.Join(c.tmp, "bin")}
	return nil
}

func (t *tree) core() *module {
	for _, m := range t.modules {
		if m.dir == "." {
			return m
		}
	}
	return nil
}

// use gets one module into an empty folder by the README's command, imports it, prints what
// came along, and runs what the module shows: the README's program, or its example.
func (c *consumer) use(ctx context.Context, m *module) error {
	dir := filepath.Join(c.tmp, "use", filepath.FromSlash(m.dir))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := c.get(ctx, dir, m); err != nil {
		return err
	}
	if m.dir == "." {
		if err := c.writeProgram(dir, m); err != nil {
			return err
		}
	} else {
		source := "package main\n\nimport _ \"" + m.path + "\"\n\nfunc main() {}\n"
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
			return err
		}
	}
	if _, err := c.goRun(ctx, dir, "build", "-o", "program", "."); err != nil {
		return err
	}
	if err := c.printSizes(ctx, dir, m); err != nil {
		return err
	}
	if m.dir == "." {
		if err := c.runAgainstMock(ctx, dir, m); err != nil {
			return err
		}
	} else {
		example, err := c.tree.read(m.dir + "/example_test.go")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "example_test.go"), example, 0o600); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(dir, "main.go")); err != nil {
			return err
		}
		if _, err := c.goRun(ctx, dir, "mod", "tidy"); err != nil {
			return err
		}
	}
	result, err := c.goRun(ctx, dir, "test", ".")
	fmt.Fprint(c.out, "\t", result)
	return err
}

// get makes dir a module that requires m by README.md's line. Before that a folder inside it
// requires the exact version by README.md's two: that has to do while m is in no cache.
func (c *consumer) get(ctx context.Context, dir string, m *module) error {
	readme, err := c.tree.read("README.md")
	if err != nil {
		return err
	}
	if !strings.Contains(string(readme), "\n    go get "+m.path+"\n") {
		return fmt.Errorf("README.md has no line that gets it")
	}
	exact := filepath.Join(dir, "exact")
	if err := os.Mkdir(exact, 0o750); err != nil {
		return err
	}
	for _, way := range []struct {
		dir  string
		args [][]string
	}{
		{exact, [][]string{{"mod", "download", m.path + "@" + c.version}, {"get", m.path + "@" + c.version}}},
		{dir, [][]string{{"get", m.path}}},
	} {
		if _, err := c.goRun(ctx, way.dir, "mod", "init", "example.com/consumer"); err != nil {
			return err
		}
		for _, args := range way.args {
			if _, err := c.goRun(ctx, way.dir, args...); err != nil {
				return err
			}
		}
		got, err := c.goRun(ctx, way.dir, "list", "-m", m.path)
		if err != nil {
			return err
		}
		if got != m.path+" "+c.version+"\n" {
			return fmt.Errorf("go get brought %s", got)
		}
	}
	return nil
}

func (c *consumer) writeProgram(dir string, m *module) error {
	readme, err := c.tree.read("README.md")
	if err != nil {
		return err
	}
	_, block, ok := strings.Cut(string(readme), "\n```go\n")
	block, _, end := strings.Cut(block, "\n```")
	if !ok || !end {
		return fmt.Errorf("README.md has no Go code")
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), fmt.Appendf(nil, program, m.path, block), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "main_test.go"), fmt.Appendf(nil, programTest, m.path), 0o600)
}

// printSizes prints what a go.mod that requires m alone has come to.
func (c *consumer) printSizes(ctx context.Context, dir string, m *module) error {
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return err
	}
	all, err := c.goRun(ctx, dir, "list", "-m", "all")
	if err != nil {
		return err
	}
	linked, err := c.goRun(ctx, dir, "version", "-m", "program")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%-24s %-12s %8d %8d %8d\n", m.dir, c.version, strings.Count(string(sum), "\n"),
		strings.Count(all, "\n")-1, strings.Count(linked, "\tdep\t")) // without the consumer itself
	return nil
}

var listening = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// runAgainstMock runs the program twice against examples/mockserver, which is built from
// the module that was got, not from the tree.
func (c *consumer) runAgainstMock(ctx context.Context, dir string, m *module) error {
	if _, err := c.goRun(ctx, dir, "build", "-o", c.mockserver(), m.path+"/examples/mockserver"); err != nil {
		return err
	}
	api, stop, err := c.startMock(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for range 2 { // the second run finds the token
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "program"), filepath.Join(dir, "state"), api)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "200 OK") {
			return fmt.Errorf("the README's program: %w: %s", err, out)
		}
		fmt.Fprintf(c.out, "\tthe README's program against mockserver: %s", out)
	}
	return nil
}

// goRun runs the go command in dir, as the consumer.
func (c *consumer) goRun(ctx context.Context, dir string, args ...string) (string, error) {
	return output(ctx, dir, c.env, "go", args...)
}
