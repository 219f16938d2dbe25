//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// modeOf is the mode of path as chmod has it.
func modeOf(t testing.TB, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestFileModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		defer syscall.Umask(syscall.Umask(umask))
		dir := newFolder(t)
		f := openFile(t, dir)
		path := f.RecordPath("k")
		if err := os.WriteFile(path, []byte{1}, 0o600); err != nil {
			t.Fatal(err)
		}
		seen := login(t, f, "k", "a") // keeps a copy aside
		if _, err := f.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if m := modeOf(t, d); m != 0o700 {
				t.Errorf("umask %03o: folder has mode %04o", umask, m)
			}
		}
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(names) != 4 {
			t.Fatalf("%d files: record, two locks and the corrupt one expected", len(names))
		}
		for _, name := range names {
			if m := modeOf(t, name); m != 0o600 {
				t.Errorf("umask %03o: %s has mode %04o", umask, filepath.Base(name), m)
			}
		}
	}
}

func TestNewFileRefusesLooseFolder(t *testing.T) {
	for _, mode := range []os.FileMode{0o755, 0o750, 0o701, 0o770, 0o777} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		_, err := store.NewFile(dir, store.Plaintext())
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestNewFileRefusesSymlink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"dangling", "to a folder"} {
		if _, err := store.NewFile(link, store.Plaintext()); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", state, err)
		}
		if _, err := store.NewFile(link+"/", store.Plaintext()); err == nil {
			t.Errorf("%s, with a slash: no error", state)
		}
		_ = os.Mkdir(real, 0o700)
	}
	// A link further up is the user's business, and is followed once.
	inner := filepath.Join(link, "tokens")
	f := openFile(t, inner)
	login(t, f, "k", "a")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	wantStored(t, f, "k", "refresh-a", 1)
}

// TestFileAnotherFolder: one in the place of the folder that is not fit for it, such as the place
// where its disk was mounted, does not say that nobody is logged in: a login there is refused, too.
func TestFileAnotherFolder(t *testing.T) {
	for name, replace := range map[string]func(dir string) error{
		"let others in":   func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o755)) },
		"a link":          func(dir string) error { return os.Symlink(filepath.Dir(dir), dir) },
		"a link's folder": func(dir string) error { return errors.Join(os.Mkdir(dir+"2", 0o700), os.Symlink(dir+"2", dir)) },
	} {
		dir := newFolder(t)
		f := openFile(t, dir)
		seen := login(t, f, "k", "a")
		if err := errors.Join(os.Rename(dir, dir+" of before"), replace(dir)); err != nil {
			t.Fatal(err)
		}
		_, load := f.Load(t.Context(), "k")
		_, refresh := f.Refresh(t.Context(), "k", seen, time.Second, never(t))
		_, _, login := f.Replace(t.Context(), "k", tok("b"))
		for what, err := range map[string]error{"Load": load, "Refresh": refresh, "login": login} {
			if !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, tokenclient.ErrNoToken) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		if err := errors.Join(os.Remove(dir), os.Rename(dir+" of before", dir)); err != nil {
			t.Fatal(err)
		}
		wantStored(t, f, "k", "refresh-a", 1)
	}
}

// TestFileRefusesStrangeRecords: what is in the place of a record and is none is
// neither read nor written, nor followed, nor waited for.
func TestFileRefusesStrangeRecords(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path, good string) error
		want string
	}{
		"loose mode":    {func(path, good string) error { return copyFile(path, good, 0o644) }, "chmod 600"},
		"group":         {func(path, good string) error { return copyFile(path, good, 0o620) }, "chmod 600"},
		"symlink":       {func(path, good string) error { return os.Symlink(good, path) }, "symbolic link"},
		"dangling link": {func(path, good string) error { return os.Symlink(good+"x", path) }, "symbolic link"},
		"folder":        {func(path, _ string) error { return os.Mkdir(path, 0o700) }, "a folder"},
		"named pipe":    {func(path, _ string) error { return syscall.Mkfifo(path, 0o600) }, "not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFile(t, newFolder(t))
			seen := login(t, f, "good", "a")
			path := f.RecordPath("k")
			if err := c.make(path, f.RecordPath("good")); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			_, loadErr := f.Load(t.Context(), "k")
			_, refreshErr := f.Refresh(t.Context(), "k", seen, time.Second, never(t))
			_, _, loginErr := f.Replace(t.Context(), "k", tok("b"))
			_, _, logoutErr := f.Replace(t.Context(), "k", nil)
			for what, err := range map[string]error{"load": loadErr, "refresh": refreshErr, "login": loginErr, "logout": logoutErr} {
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				if !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), path) != 1 {
					t.Errorf("%s: %v", what, err)
				}
			}
			after, err := os.Lstat(path)
			if err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
				t.Error("it was changed")
			}
			wantStored(t, f, "good", "refresh-a", 1)
		})
	}
}

func copyFile(to, from string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, mode)
	}
	if err == nil {
		err = os.Chmod(to, mode)
	}
	return err
}

// TestFileHolderIsStopped: nobody takes over from it, however old its claim. Those
// who wait have their contexts; reading, login and logout do not wait.
func TestFileHolderIsStopped(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	seen := login(t, f, "k", "a")
	c := startChild(t, nil, "hold", dir, "1h")
	c.expect("presents, announced 1")
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(f.RecordPath("k"), past, past); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := f.Refresh(ctx, "k", seen, time.Second, never(t))
		cancel()
		wantErr(t, err, context.DeadlineExceeded)
	}
	rec, err := f.Load(t.Context(), "k")
	if err != nil || rec.Announced != 1 {
		t.Fatalf("%v, %v", rec, err)
	}
	waiter := make(chan error)
	go func() {
		rec, err := f.Refresh(t.Context(), "k", seen, time.Second, never(t))
		if err == nil && rec.Number != 2 {
			err = fmt.Errorf("number %d", rec.Number)
		}
		waiter <- err
	}()
	if err := c.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.tell("go on")
	c.expect("number 2 <nil>")
	if err := <-waiter; err != nil {
		t.Error(err)
	}
	wantStored(t, f, "k", "refresh-a'", 2)
}

func init() { childRoles["login loop"] = childLoginLoop }

// childLoginLoop logs in again and again, with large tokens, until it is killed.
func childLoginLoop(args []string) {
	f := childFile(args[0])
	for i := 0; ; i++ {
		if _, _, err := f.Replace(context.Background(), "k", tok(strings.Repeat(string(rune('a'+i%26)), 256<<10))); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// TestFileWriterIsKilled between the creation of its temporary file and the rename:
// what is stored is whole, what is left over does no harm, and no lock stays.
func TestFileWriterIsKilled(t *testing.T) {
	kills := 10
	if testing.Short() {
		kills = 3
	}
	dir := newFolder(t)
	f := openFile(t, dir)
	temps := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for n := range kills {
		login(t, f, "k", "a")
		c := startChild(t, nil, "login loop", dir)
		c.line()
		go func() { _, _ = c.out.WriteTo(io.Discard) }()
		killInWrite(t, c, func() bool { return len(temps()) > n })
		rec, err := f.Load(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(rec.Token.RefreshToken, "refresh-")
		if len(name) != 256<<10 || strings.Trim(name, name[:1]) != "" || rec.Token.AccessToken != "access-"+name {
			t.Fatal("torn record")
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	for _, name := range temps() {
		if err := os.Chtimes(name, past, past); err != nil {
			t.Fatal(err)
		}
	}
	login(t, openFile(t, dir), "k", "a")
	if left := temps(); len(left) > 0 {
		t.Errorf("%v were not swept", left)
	}
}

// killInWrite kills c at a moment when inWrite is true, by stopping it first.
func killInWrite(t *testing.T, c *child, inWrite func() bool) {
	t.Helper()
	for {
		for !inWrite() {
		}
		if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(c.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("wait for the child to stop: %v, %v", status, err)
		}
		if inWrite() {
			break
		}
		if err := c.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
}

// TestFileLockFilesStay: a lock file that is deleted would let two in.
func TestFileLockFilesStay(t *testing.T) {
	f := openFile(t, newFolder(t))
	seen := login(t, f, "k", "a")
	inode := func(suffix string) uint64 {
		info, err := os.Stat(f.RecordPath("k") + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(info.Sys().(*syscall.Stat_t).Ino)
	}
	short := inode(".lock")
	seen, err := f.Refresh(t.Context(), "k", seen, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	long := inode(".hold")
	if _, err = f.Refresh(t.Context(), "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return nil, errors.New("EOF")
	}); err == nil {
		t.Fatal("no error")
	}
	if _, _, err = f.Replace(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if inode(".lock") != short || inode(".hold") != long {
		t.Error("a lock file was made anew")
	}
}
