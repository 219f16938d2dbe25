package filewatch_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/filewatch"
)

func needsWatch(t *testing.T) {
	t.Helper()
	if !filewatch.Supported {
		if runtime.GOOS == "linux" {
			t.Fatal("Linux tells of files")
		}
		t.Skip("only Linux tells of files here")
	}
}

// A bell is rung by calls, and heard by a test.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

func (b bell) hear(t *testing.T, of string) {
	t.Helper()
	select {
	case <-b:
	case <-time.After(time.Minute):
		t.Fatalf("not told of %s", of)
	}
}

func (b bell) silent(t *testing.T, of string) {
	t.Helper()
	select {
	case <-b:
		t.Errorf("told of %s", of)
	default:
	}
}

func watch(t *testing.T, f *filewatch.Folder, name string) (b bell, stop func()) {
	t.Helper()
	b = newBell()
	stop, err := f.Watch(name, b.ring)
	if err != nil {
		t.Fatal(err)
	}
	return b, sync.OnceFunc(stop)
}

// replace has a new file at path, as all do who must not be read in the middle of it.
func replace(t *testing.T, path string) {
	t.Helper()
	temp, err := os.CreateTemp(filepath.Dir(path), ".temp")
	if err != nil {
		t.Fatal(err)
	}
	defer temp.Close()
	if err := os.Rename(temp.Name(), path); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := filewatch.Touch(path); err != nil {
		t.Fatal(err)
	}
}

// TestWatch: who watches a file is told of its changes, as often as they come, and not of
// those of others.
func TestWatch(t *testing.T) {
	needsWatch(t)
	dir := t.TempDir()
	f := filewatch.New(dir)
	a, stopA := watch(t, f, "a")
	defer stopA()
	b, stopB := watch(t, f, "b")
	defer stopB()
	also, stopAlso := watch(t, f, "a")
	defer stopAlso()
	for range 3 {
		replace(t, filepath.Join(dir, "a"))
		a.hear(t, "a file that was replaced")
		also.hear(t, "a file that was replaced, as the second one")
		touch(t, filepath.Join(dir, "a"))
		a.hear(t, "a file that was touched")
		also.hear(t, "a file that was touched, as the second one")
		b.silent(t, "another file")
		replace(t, filepath.Join(dir, "b"))
		b.hear(t, "a file that was replaced")
		a.silent(t, "another file")
	}
	stopAlso()
	replace(t, filepath.Join(dir, "a"))
	a.hear(t, "a file, after another one has stopped")
	also.silent(t, "anything after the stop")
	if !f.Hears() {
		t.Error("it hears nothing")
	}
}

// TestStop: while nobody watches there is no descriptor, and it can begin again.
func TestStop(t *testing.T) {
	needsWatch(t)
	dir := t.TempDir()
	f := filewatch.New(dir)
	for range 3 {
		if n := instances(t); n != 0 || f.Hears() {
			t.Fatalf("%d descriptors while nobody watches; hears: %v", n, f.Hears())
		}
		_, stop := watch(t, f, "a")
		b, stopB := watch(t, f, "b")
		if n := instances(t); n != 1 {
			t.Fatalf("%d descriptors for two who watch", n)
		}
		stop()
		replace(t, filepath.Join(dir, "b"))
		b.hear(t, "a file, after one of two has stopped")
		stopB()
	}
}

// instances counts the descriptors of inotify, which are closed when nobody reads them any more.
func instances(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); to == "anon_inode:inotify" {
			n++
		}
	}
	return n
}

// TestFolderGone: who watches is told when there is nothing to be told of any more, and the next
// one begins with the folder that is there then.
func TestFolderGone(t *testing.T) {
	needsWatch(t)
	dir := filepath.Join(t.TempDir(), "folder")
	f := filewatch.New(dir)
	if _, err := f.Watch("a", func() {}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no folder: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before, stop := watch(t, f, "a")
	defer stop()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for f.Hears() {
		before.hear(t, "the end of the folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	after, stopAfter := watch(t, f, "a")
	defer stopAfter()
	replace(t, filepath.Join(dir, "a"))
	after.hear(t, "a file in the new folder")
	before.hear(t, "a file in the new folder, as who watched the old one")
}

// TestTooMuch: when the kernel has told more than it keeps, everybody is told.
func TestTooMuch(t *testing.T) {
	needsWatch(t)
	dir := t.TempDir()
	for _, name := range []string{"loud", "louder", "quiet"} {
		replace(t, filepath.Join(dir, name))
	}
	f := filewatch.New(dir)
	goOn, first := make(chan struct{}), newBell()
	stop, err := f.Watch("loud", func() { first.ring(); <-goOn }) // it must not, and keeps the kernel waiting
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	quiet, stopQuiet := watch(t, f, "quiet")
	defer stopQuiet()
	touch(t, filepath.Join(dir, "loud"))
	first.hear(t, "a file")
	for range queued(t)/2 + 1000 { // what is twice the same is taken for one
		touch(t, filepath.Join(dir, "loud"))
		touch(t, filepath.Join(dir, "louder"))
	}
	close(goOn)
	quiet.hear(t, "what the kernel did not keep")
}

// queued is how many events the kernel keeps.
func queued(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAtOnce is for the race detector.
func TestAtOnce(t *testing.T) {
	needsWatch(t)
	dir := t.TempDir()
	f := filewatch.New(dir)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				b, stop := watch(t, f, "a")
				replace(t, filepath.Join(dir, "a"))
				b.hear(t, "a file")
				stop()
				f.Hears()
			}
		})
	}
	all.Wait()
	if n := instances(t); n != 0 {
		t.Errorf("%d descriptors are left", n)
	}
}

// TestBubble: the time of a bubble would stand still while somebody waits for the kernel.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := filewatch.New(t.TempDir()).Watch("a", func() {}); err == nil {
			t.Error("it watches")
		}
	})
}
