package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Folders that cannot be written, and disks that are full.

func init() {
	childRoles["nobody"] = childNobody
	childRoles["full disk"] = childFullDisk
}

// outcomeOf tells what an operation did in words that a parent can compare.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, tokenclient.ErrNoToken):
		return "no token"
	case errors.Is(err, tokenclient.ErrStoreCorrupt):
		return "corrupt"
	case errors.Is(err, tokenclient.ErrStoreUnavailable):
		return "unavailable"
	}
	return err.Error()
}

// childNobody tries everything on a folder as another user: root may do all.
func childNobody(args []string) {
	if os.Getuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			panic(err)
		}
	}
	f := childFile(args[0])
	ctx := context.Background()
	seen, err := f.Load(ctx, "k")
	fmt.Println("load:", outcomeOf(err))
	_, _, err = f.Replace(ctx, "k", tok("b"))
	fmt.Println("login:", outcomeOf(err), strings.Contains(err.Error(), args[0]), os.IsPermission(errors.Unwrap(err)) || errors.Is(err, os.ErrPermission))
	_, _, err = f.Replace(ctx, "k", nil)
	fmt.Println("logout:", outcomeOf(err))
	_, err = f.Refresh(ctx, "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		fmt.Println("fn was called")
		return nil, nil
	})
	fmt.Println("refresh:", outcomeOf(err))
}

// reachable makes a folder that another user can get to.
func reachable(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	for _, d := range []string{top, filepath.Dir(top)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(top, "tokens")
}

// chownAll gives dir and what is in it to the user uid.
func chownAll(t *testing.T, dir string, uid int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, dir) {
		if err := os.Chown(name, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileReadOnlyFolder(t *testing.T) {
	dir := reachable(t)
	f := openFile(t, dir)
	login(t, f, "k", "a")
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	if os.Getuid() == 0 {
		chownAll(t, dir, nobody)
	}
	c := startChild(t, nil, "nobody", dir)
	c.expect("load: ok")
	c.expect("login: unavailable true true")
	c.expect("logout: unavailable")
	c.expect("refresh: unavailable")
	if os.Getuid() == 0 {
		chownAll(t, dir, 0)
	}
	wantStored(t, f, "k", "refresh-a", 1)
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestFileFolderOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a folder that belongs to another user than this one")
	}
	dir := reachable(t)
	f := openFile(t, dir)
	login(t, f, "k", "a")
	c := startChild(t, nil, "nobody", dir)
	c.expect("load: unavailable") // not "no token": nobody logged out
	c.expect("login: unavailable true true")
	c.expect("logout: unavailable")
	c.expect("refresh: unavailable")
	wantStored(t, f, "k", "refresh-a", 1)
}

// childFullDisk makes writes of files fail in two places: before fn and after it.
func childFullDisk(args []string) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(size uint64) {
		var l syscall.Rlimit
		err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l)
		if l.Cur = min(size, l.Max); err == nil {
			err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
		}
		if err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	f, seen := childSeen(ctx, args[0])
	limit(50)
	_, err := f.Refresh(ctx, "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		fmt.Println("fn was called")
		return nil, nil
	})
	fmt.Println("before fn:", outcomeOf(err), errors.Is(err, syscall.EFBIG))
	limit(1 << 40)
	rec, err := f.Refresh(ctx, "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		limit(50)
		return next(ctx, cur)
	})
	var pending *tokenclient.NotSavedError
	fmt.Println("after fn:", errors.As(err, &pending), outcomeOf(err), rec.Number, pending.Token.RefreshToken)
	fmt.Println("again:", outcomeOf(pending.Save(ctx)))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	limit(1 << 40)
	fmt.Println("with room:", outcomeOf(pending.Save(ctx)))
}

func TestFileFullDisk(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	seen := login(t, f, "k", "a")
	c := startChild(t, nil, "full disk", dir)
	c.expect("before fn: unavailable true")
	rec, err := f.Load(t.Context(), "k")
	if err != nil || rec.Announced > 1 { // 1: the child is at its second refresh
		t.Fatalf("%v, %v", rec, err)
	}
	c.expect("after fn: true unavailable 2 refresh-a'")
	c.expect("again: unavailable")
	left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	for _, name := range left { // one is for the save that is to come
		if info, err := os.Stat(name); err != nil || info.Size() > 0 || len(left) > 1 {
			t.Errorf("left over: %v, %v", left, err)
		}
	}
	// The child has the only pair that works. Nobody presents the other one.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = f.Refresh(ctx, "k", seen, time.Second, never(t))
	wantErr(t, err, context.DeadlineExceeded)
	c.tell("there is room now")
	c.expect("with room: ok")
	wantStored(t, f, "k", "refresh-a'", 2)
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestFileFullFileSystem fills a real one.
func TestFileFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=16k,mode=0700"); err != nil {
		t.Skipf("cannot mount a small file system (TestFileFullDisk does without): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "tokens")
	f := openFile(t, dir)
	seen := login(t, f, "k", "a")
	filler := filepath.Join(mount, "filler")
	fill, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 512))
	}
	fill.Close()
	wantErr(t, err, syscall.ENOSPC)
	_, err = f.Refresh(t.Context(), "k", seen, time.Second, never(t))
	wantErr(t, err, syscall.ENOSPC)
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	_, _, err = f.Replace(t.Context(), "k", tok("b"))
	wantErr(t, err, syscall.ENOSPC)
	wantStored(t, f, "k", "refresh-a", 1)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
		t.Fatal(err)
	}
}

// TestFileClockWasSetForward: the time of day says that the holder has died long ago, and
// was wrong when it did. A machine without a battery has such a clock at every start.
func TestFileClockWasSetForward(t *testing.T) {
	const timeout = 2 * time.Second
	f, seen := killed(t, timeout)
	info, err := os.Stat(f.RecordPath("k"))
	if err != nil {
		t.Fatal(err)
	}
	past := info.ModTime().Add(-2 * time.Hour)
	if err := os.Chtimes(f.RecordPath("k"), past, past); err != nil {
		t.Fatal(err)
	}
	_, err = f.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		if d := time.Since(info.ModTime()); d < timeout {
			t.Errorf("presented again %v after the claim", d)
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileStamp(t *testing.T) {
	f := openFile(t, newFolder(t))
	seen := login(t, f, "k", "a")
	if _, ok, _ := f.SinceStamp("k"); ok {
		t.Error("there is a stamp before the first claim")
	}
	if _, err := f.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
		t.Fatal(err)
	}
	if passed, ok, up := f.SinceStamp("k"); !ok || passed > up {
		t.Errorf("after a claim: %v, %t", passed, ok)
	}
	// Older by an hour, from the future, and from before the machine was started.
	if err := f.SetStamp("k", "", time.Hour); err != nil {
		t.Fatal(err)
	}
	if passed, ok, _ := f.SinceStamp("k"); !ok || passed < time.Hour {
		t.Errorf("after an hour: %v, %t", passed, ok)
	}
	if err := f.SetStamp("k", "", -time.Hour); err != nil {
		t.Fatal(err)
	}
	if passed, ok, _ := f.SinceStamp("k"); !ok || passed != 0 {
		t.Errorf("from the future: %v, %t", passed, ok)
	}
	if err := f.SetStamp("k", "another-start", -1000*time.Hour); err != nil {
		t.Fatal(err)
	}
	if passed, ok, up := f.SinceStamp("k"); !ok || passed < up {
		t.Errorf("before this start: %v, %t; want %v", passed, ok, up)
	}
	for _, text := range []string{"", "x", "another program's"} {
		if err := os.WriteFile(f.RecordPath("k")+".hold", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := f.SinceStamp("k"); ok {
			t.Errorf("%q is taken for a stamp", text)
		}
	}
}

// TestSyncFolder: a file system that cannot sync a folder has to do without; any other failure
// is one: the write may not outlast a power cut.
func TestSyncFolder(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/proc"} { // what /proc answers is EINVAL
		d, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.SyncOpenDir(d); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		_ = d.Close()
		if err := store.SyncOpenDir(d); err == nil {
			t.Errorf("%s: a folder that is closed is synced", path)
		}
	}
}

// TestNewFoldersLast: each folder that has got a new one in it is opened, which is to sync it: what
// is in the new one would be gone with it.
func TestNewFoldersLast(t *testing.T) {
	for name, create := range map[string]func(dir string) error{
		"NewFile": func(dir string) error {
			_, err := store.NewFile(dir, store.Plaintext())
			return err
		},
		"LoadOrCreateKeyFile": func(dir string) error {
			_, err := store.LoadOrCreateKeyFile(filepath.Join(dir, "secret.key"))
			return err
		},
	} {
		top := t.TempDir()
		fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
		if err == nil {
			_, err = syscall.InotifyAddWatch(fd, top, syscall.IN_OPEN|syscall.IN_ONLYDIR)
		}
		if err == nil {
			err = create(filepath.Join(top, "one", "two", "three"))
		}
		if err != nil {
			t.Fatal(err)
		}
		opened, events := false, make([]byte, 4096)
		n, _ := syscall.Read(fd, events) // EAGAIN: none
		for events = events[:max(n, 0)]; len(events) >= syscall.SizeofInotifyEvent; {
			length := binary.NativeEndian.Uint32(events[12:]) // of the name, which is that of what is in the folder
			opened = opened || length == 0
			events = events[syscall.SizeofInotifyEvent+length:]
		}
		if !opened {
			t.Errorf("%s: the folder above all new ones was not opened", name)
		}
		_ = syscall.Close(fd)
	}
}
