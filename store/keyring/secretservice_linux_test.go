package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	system "github.com/zalando/go-keyring"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/keyring"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Key against a real gnome-keyring, on a session bus of the test's own. What talks
// to it is this test binary in another role, started by dbus-run-session: the bus
// of a process is a matter of its environment, and the user's own keyring must not
// be touched.

const (
	roleEnv     = "KEYRING_TEST_ROLE"
	passwordEnv = "KEYRING_TEST_PASSWORD"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "reap" {
		os.Exit(reap(os.Args[2:]))
	}
	role := strings.Split(os.Getenv(roleEnv), "\n")
	if role[0] == "" {
		os.Exit(m.Run())
	}
	roles[role[0]](role[1:])
}

// reap runs a command, and waits for all processes that come of it, daemons too.
// Those that are left when the command has ended are ended: a keyring that was just
// about to connect to a bus that is gone stays for ever.
func reap(command []string) (code int) {
	const setChildSubreaper = 36
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		panic(errno)
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	must(c.Start())
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.ECHILD:
			return code
		case err == syscall.EINTR:
		case err != nil:
			panic(err)
		case pid == c.Process.Pid:
			if !status.Exited() || status.ExitStatus() != 0 {
				code = 1
			}
			for _, left := range processes(os.Getenv("XDG_RUNTIME_DIR")) {
				_ = syscall.Kill(left, syscall.SIGTERM)
			}
		}
	}
}

// roles print what they find, a line each; their tests know what it should be.
var roles = map[string]func(args []string){
	"key":     func(args []string) { printKey(args[0]) },
	"many":    roleMany,
	"delete":  roleDelete,
	"put":     rolePut,
	"killed":  roleKilled,
	"stopped": roleStopped,
	"login":   roleLogin,
	"load":    roleLoad,
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func printKey(dir string) {
	w, err := keyring.Key(dir, service, account)
	if err != nil {
		fmt.Println("unavailable", errors.Is(err, tokenclient.ErrStoreUnavailable), err)
		return
	}
	fmt.Println("key", w.KeyID())
}

// roleMany starts processes that all ask for the key at the same moment.
func roleMany(args []string) {
	n, err := strconv.Atoi(args[1])
	must(err)
	start := make([]io.Closer, n)
	out := make([]bytes.Buffer, n)
	children := make([]*exec.Cmd, n)
	for i := range n {
		// The shell waits until its standard input ends.
		c := exec.Command("/bin/sh", "-c", `read line; exec "$0"`, os.Args[0])
		c.Env = append(os.Environ(), roleEnv+"=key\n"+args[0])
		c.Stdout, c.Stderr = &out[i], os.Stderr
		start[i], err = c.StdinPipe()
		must(err)
		must(c.Start())
		children[i] = c
	}
	for _, s := range start {
		must(s.Close())
	}
	for i, c := range children {
		must(c.Wait())
		fmt.Print(out[i].String())
	}
}

func roleDelete(args []string) {
	must(system.Delete(service, account))
	printKey(args[0])
}

func rolePut(args []string) {
	must(system.Set(service, account, args[1]))
	printKey(args[0])
	value, err := system.Get(service, account)
	fmt.Println("item", value, err)
}

// roleKilled kills the keyring after it gave the key once.
func roleKilled(args []string) {
	printKey(args[0])
	pid := daemonPID()
	must(syscall.Kill(pid, syscall.SIGKILL))
	printKey(args[0])
}

// roleStopped stops the keyring, which then says nothing at all.
func roleStopped(args []string) {
	pid := daemonPID()
	must(syscall.Kill(pid, syscall.SIGSTOP))
	_, err := keyring.KeyWithin(500*time.Millisecond, args[0], service, account)
	must(syscall.Kill(pid, syscall.SIGCONT))
	fmt.Println("unavailable", errors.Is(err, tokenclient.ErrStoreUnavailable), err)
	printKey(args[0])
}

func openStore(dir string) (*store.File, error) {
	w, err := keyring.Key(dir, service, account)
	if err != nil {
		return nil, err
	}
	return store.NewFile(dir, store.Seal(w))
}

func roleLogin(args []string) {
	f, err := openStore(args[0])
	must(err)
	_, _, err = f.Replace(context.Background(), "alice", &tokenclient.Token{AccessToken: "a", RefreshToken: args[1]})
	fmt.Println("login", err)
}

func roleLoad(args []string) {
	f, err := openStore(args[0])
	must(err)
	record, err := f.Load(context.Background(), "alice")
	must(err)
	fmt.Println("stored", record.Token.RefreshToken)
}

// daemonPID finds the keyring of this session.
func daemonPID() int {
	for _, pid := range processes(os.Getenv("XDG_RUNTIME_DIR")) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.HasPrefix("gnome-keyring-daemon\n", strings.TrimSpace(string(name))) {
			return pid
		}
	}
	panic("there is no keyring")
}

// processes finds those of a home by their environment: a keyring is not a child of
// who started it.
func processes(runtimeDir string) (pids []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(err)
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		must(err)
		env, _ := os.ReadFile(filepath.Join(dir, "environ")) // empty if it has ended
		if pid != os.Getpid() && bytes.Contains(env, []byte("XDG_RUNTIME_DIR="+runtimeDir+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A home is all that a user's keyring needs.
type home struct {
	t   *testing.T
	dir string
}

func newHome(t *testing.T) *home {
	t.Helper()
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (Debian packages dbus and gnome-keyring)", program)
		}
	}
	h := &home{t, t.TempDir()}
	for _, name := range []string{"home", "run", "app"} {
		must(os.Mkdir(filepath.Join(h.dir, name), 0o700))
	}
	t.Cleanup(h.kill)
	return h
}

// app is the folder of the program.
func (h *home) app() string { return filepath.Join(h.dir, "app") }

// env has no display, so that a keyring that wants to ask the user cannot.
func (h *home) env(extra ...string) []string {
	env := []string{
		"HOME=" + filepath.Join(h.dir, "home"),
		"XDG_RUNTIME_DIR=" + filepath.Join(h.dir, "run"),
		"GORACE=atexit_sleep_ms=0", // each process would end a second later
	}
	for _, name := range []string{"PATH", "TMPDIR", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}

// session runs a role in a session of its own, whose keyring is unlocked with
// password if that is not empty, and returns the lines that it prints.
func (h *home) session(password string, role ...string) []string {
	h.t.Helper()
	return h.run([]string{"dbus-run-session", "--", "/bin/sh", "-c", `
		if [ -n "$` + passwordEnv + `" ]; then
			printf %s "$` + passwordEnv + `" | gnome-keyring-daemon --unlock --components=secrets >/dev/null || exit
		fi
		exec "$0"`, executable(h.t)}, passwordEnv+"="+password, roleEnv+"="+strings.Join(role, "\n"))
}

func executable(t *testing.T) string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// run returns when nothing that command has started is left.
func (h *home) run(command []string, env ...string) []string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, executable(h.t), append([]string{"reap"}, command...)...)
	c.Env = h.env(env...)
	var log bytes.Buffer
	c.Stderr = &log
	c.WaitDelay = time.Second // what was left behind still has the pipes
	out, err := c.Output()
	if err != nil {
		h.t.Fatalf("%v; it printed %q and %s", err, out, log.String())
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// kill is for a test that stopped in the middle.
func (h *home) kill() {
	for _, pid := range processes(filepath.Join(h.dir, "run")) {
		h.t.Errorf("process %d was left behind", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// wantLines checks that lines begin with want, one each.
func wantLines(t *testing.T, lines []string, want ...string) {
	t.Helper()
	ok := len(lines) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(lines[i], want[i])
	}
	if !ok {
		t.Fatalf("printed\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func wantNoMarker(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(keyring.Marker(dir, service, account)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a marker: %v", err)
	}
}

const (
	password    = "correct horse"
	unavailable = "unavailable true keyring: Key: " +
		`service "com.example.cli", account "tokens": `
)

func TestSecretService(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	first := h.session(password, "key", h.app())
	wantLines(t, first, "key ")
	wantLines(t, h.session(password, "many", h.app(), "2"), first[0], first[0])

	// Another password than the keyring's is no password at all.
	const locked = unavailable + "read the keyring: failed to unlock"
	wantLines(t, h.session("wrong", "key", h.app()), locked)
	wantLines(t, h.session("", "key", h.app()), locked)

	wantLines(t, h.session(password, "key", h.app()), first[0])
	wantLines(t, h.session(password, "delete", h.app()), unavailable+"the "+first[0]+" is not in the keyring any more")
	wantLines(t, h.session(password, "put", h.app(), "hunter2"),
		unavailable+"the item in the keyring holds 7 bytes that are no key", "item hunter2 <nil>")
}

func TestSecretServiceManyProcesses(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	lines := h.session(password, "many", h.app(), "8")
	if !strings.HasPrefix(lines[0], "key ") {
		t.Fatal(lines[0])
	}
	for _, line := range append(lines, h.session(password, "key", h.app())...) {
		if line != lines[0] {
			t.Errorf("one process got %q, another %q", lines[0], line)
		}
	}
	if len(lines) != 8 {
		t.Errorf("%d lines", len(lines))
	}
}

// TestSecretServiceLocked: nobody has unlocked it, and there is no display to ask
// on.
func TestSecretServiceLocked(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start := time.Now()
	wantLines(t, h.session("", "key", h.app()), unavailable+"read the keyring: ")
	if d := time.Since(start); d >= keyring.Limit {
		t.Errorf("took %v", d)
	}
	wantNoMarker(t, h.app())
}

func TestNoSessionBus(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	env := map[string]string{"unix:path=" + filepath.Join(h.dir, "absent"): "read the keyring: dial unix"}
	if _, err := os.Stat(fmt.Sprintf("/run/user/%d", os.Getuid())); errors.Is(err, fs.ErrNotExist) {
		// Otherwise it would find the bus of who runs the tests.
		env[""] = "read the keyring: there is no D-Bus session"
		env["autolaunch:"] = env[""]
	}
	for address, want := range env {
		wantLines(t, h.run([]string{executable(t)}, "DBUS_SESSION_BUS_ADDRESS="+address, roleEnv+"=key\n"+h.app()), unavailable+want)
	}
	wantNoMarker(t, h.app())
}

// TestSecretServiceKilled: the bus starts another one, which is locked.
func TestSecretServiceKilled(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	lines := h.session(password, "killed", h.app())
	wantLines(t, lines, "key ", unavailable+"read the keyring: ")
	wantLines(t, h.session(password, "key", h.app()), lines[0])
}

// TestSecretServiceStopped: a keyring that does not answer costs the limit, and
// gives the key once it answers again.
func TestSecretServiceStopped(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	first := h.session(password, "key", h.app())
	wantLines(t, h.session(password, "stopped", h.app()), unavailable+"not done within 500ms: read the keyring", first[0])
}

// TestSecretServiceFile is the whole of it: tokens in a File, their key in the
// keyring, and a new login after the key was lost.
func TestSecretServiceFile(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	wantLines(t, h.session(password, "login", h.app(), "refresh-1"), "login <nil>")
	wantLines(t, h.session(password, "load", h.app()), "stored refresh-1")
	entries, err := os.ReadDir(h.app())
	if err != nil || len(entries) < 4 {
		t.Fatal(entries, err)
	}
	for _, entry := range entries {
		if b, err := os.ReadFile(filepath.Join(h.app(), entry.Name())); err != nil || bytes.Contains(b, []byte("refresh-1")) {
			t.Errorf("%s: %q, %v", entry.Name(), b, err)
		}
	}

	marker := keyring.Marker(h.app(), service, account)
	wantLines(t, h.session(password, "delete", h.app()), unavailable+"the key ")
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	wantLines(t, h.session(password, "login", h.app(), "refresh-2"), "login <nil>")
	wantLines(t, h.session(password, "load", h.app()), "stored refresh-2")
}
