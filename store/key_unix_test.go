//go:build unix && !aix && !solaris

package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

func TestKeyFileMode(t *testing.T) {
	for _, c := range []struct {
		mode fs.FileMode
		ok   bool
	}{
		{0o600, true}, {0o400, true}, {0o700, true},
		{0o640, false}, {0o660, false}, {0o604, false}, {0o602, false}, {0o644, false}, {0o610, false}, {0o666, false},
	} {
		path := writeKeyFile(t, string(rawKey(1)))
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{path, link} {
			for _, load := range []func(string) (store.KeyWrapper, error){store.KeyFile, store.LoadOrCreateKeyFile} {
				w, err := load(path)
				if (err == nil) != c.ok || (w != nil) != c.ok {
					t.Errorf("mode %04o: wrapper %v, error %v", c.mode, w, err)
				}
				if err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "0600")) {
					t.Errorf("mode %04o: error does not help: %v", c.mode, err)
				}
			}
		}
	}
}

func TestLoadOrCreateKeyFileModes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := store.LoadOrCreateKeyFile(filepath.Join(dir, "a", "b", "key")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{"": 0o755, "a": 0o700, "a/b": 0o700, "a/b/key": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %04o, want %04o", path, info.Mode().Perm(), want)
		}
	}
}

// A link to nothing is an error, not a place for a new file.
func TestLoadOrCreateKeyFileDanglingLink(t *testing.T) {
	dir := t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	w, err := store.LoadOrCreateKeyFile(link)
	if w != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("wrapper %v, error %v", w, err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("wrote through the link")
	}
	if err := store.CreateKeyFile(link, store.PlaceKeyFile); err != nil {
		t.Error(err)
	}
	if got, err := os.Readlink(link); err != nil || got != target {
		t.Errorf("the link became %q, %v", got, err)
	}
}

// Opening a named pipe would wait for a writer for ever.
func TestKeyFileNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := store.KeyFile(path); err == nil || w != nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("wrapper %v, error %v", w, err)
	}
}
