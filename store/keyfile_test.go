package store_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

func writeKeyFile(tb testing.TB, content string) (path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestKeyFile(t *testing.T) {
	want, err := store.KeyBytes("id", rawKey(0xf1))
	if err != nil {
		t.Fatal(err)
	}
	forms := keyForms()
	for form, text := range keyForms() {
		forms[form+", line break"] = text + "\n"
		forms[form+", Windows line break"] = text + "\r\n"
	}
	forms["raw"] = string(rawKey(0xf1))
	for form, text := range forms {
		path := writeKeyFile(t, text)
		for what, load := range map[string]func(string) (store.KeyWrapper, error){"KeyFile": store.KeyFile, "LoadOrCreateKeyFile": store.LoadOrCreateKeyFile} {
			w, err := load(path)
			if err != nil {
				t.Errorf("%s: %s: %v", form, what, err)
			} else if !sameKey(t, w, want) {
				t.Errorf("%s: %s: another key", form, what)
			}
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s: file changed: %q, %v", form, b, err)
		}
	}
}

// A raw key may end like a line, and look like text.
func TestKeyFileRawIsNotTrimmed(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", " ", "\x00"} {
		key := append(rawKey(5)[:32-len(end)], end...)
		w, err := store.KeyFile(writeKeyFile(t, string(key)))
		if err != nil {
			t.Errorf("end %q: %v", end, err)
			continue
		}
		want, err := store.KeyBytes("id", key)
		if err != nil {
			t.Fatal(err)
		}
		if !sameKey(t, w, want) {
			t.Errorf("end %q: trimmed", end)
		}
	}
}

func TestKeyFileRefuses(t *testing.T) {
	bad := badKeys()
	bad["empty"] = ""
	bad["line break only"] = "\n"
	bad["31 raw bytes"] = string(rawKey(0xf1)[:31])
	bad["33 raw bytes"] = string(append(rawKey(0xf1), 1))
	bad["raw and line break"] = string(append(rawKey(0xf1), '\n'))
	for what, text := range bad {
		path := writeKeyFile(t, text)
		for op, load := range map[string]func(string) (store.KeyWrapper, error){"KeyFile": store.KeyFile, "LoadOrCreateKeyFile": store.LoadOrCreateKeyFile} {
			w, err := load(path)
			if err == nil || w != nil {
				t.Errorf("%s: %s: taken as a key", what, op)
				continue
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "store: "+op+":") {
				t.Errorf("%s: error does not name operation and path: %v", what, err)
			}
			if len(text) > 4 && strings.Contains(err.Error(), text[:len(text)/2]) {
				t.Errorf("%s: error shows the content: %v", what, err)
			}
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s: file changed: %q, %v", what, b, err)
		}
	}
}

func TestKeyFileAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent")
	w, err := store.KeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) || w != nil || !strings.Contains(err.Error(), path) {
		t.Errorf("wrapper %v, error %v", w, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("KeyFile made a file")
	}
	for what, path := range map[string]string{"folder": t.TempDir(), "empty path": ""} {
		for _, load := range []func(string) (store.KeyWrapper, error){store.KeyFile, store.LoadOrCreateKeyFile} {
			if w, err := load(path); err == nil || w != nil {
				t.Errorf("%s: no error", what)
			}
		}
	}
}

// checkCreated checks a file that was made here, and that nothing else was left.
func checkCreated(tb testing.TB, path string, others ...string) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := hex.DecodeString(strings.TrimSuffix(string(b), "\n"))
	if len(b) != 65 || err != nil || bytes.Equal(key, make([]byte, 32)) {
		tb.Errorf("file of %d bytes, error %v", len(b), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := fmt.Sprint(append([]string{filepath.Base(path)}, others...)); fmt.Sprint(names) != want {
		tb.Errorf("folder holds %q, want %s", names, want)
	}
}

func TestLoadOrCreateKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "key")
	first, err := store.LoadOrCreateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	checkCreated(t, path)
	for _, load := range []func(string) (store.KeyWrapper, error){store.KeyFile, store.LoadOrCreateKeyFile} {
		w, err := load(path)
		if err != nil {
			t.Fatal(err)
		}
		if w.KeyID() != first.KeyID() || !sameKey(t, w, first) {
			t.Error("another key at the second run")
		}
	}
	other, err := store.LoadOrCreateKeyFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	if other.KeyID() == first.KeyID() {
		t.Error("two new files have the same key")
	}
}

// Relative paths have a folder too.
func TestLoadOrCreateKeyFileRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := store.LoadOrCreateKeyFile("key"); err != nil {
		t.Fatal(err)
	}
	checkCreated(t, "key")
	if _, err := store.LoadOrCreateKeyFile(filepath.Join("x", "y", "key")); err != nil {
		t.Fatal(err)
	}
	checkCreated(t, filepath.Join("x", "y", "key"))
}

func TestLoadOrCreateKeyFileFails(t *testing.T) {
	file := writeKeyFile(t, "not a folder")
	path := filepath.Join(file, "key")
	if w, err := store.LoadOrCreateKeyFile(path); err == nil || w != nil || !strings.Contains(err.Error(), "LoadOrCreateKeyFile") {
		t.Errorf("folder is a file: %v, %v", w, err)
	}
}

// TestCreateKeyFileHasOneName: from the moment at which the key is there it has no other name,
// so that a crash leaves no copy of it where nobody looks.
func TestCreateKeyFileHasOneName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	err := store.CreateKeyFile(path, func(temp, to string) error {
		err := store.PlaceKeyFile(temp, to)
		checkCreated(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checkCreated(t, path)
}

// A file that is there is never replaced, whatever it holds, and there is one winner.
func TestCreateKeyFileKeepsWhatIsThere(t *testing.T) {
	path := writeKeyFile(t, "precious")
	if err := store.CreateKeyFile(path, store.PlaceKeyFile); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("file holds %q, %v", b, err)
	}
	for range 5 {
		path := filepath.Join(t.TempDir(), "key")
		ids := race(t, 16, func() (store.KeyWrapper, error) {
			if err := store.CreateKeyFile(path, store.PlaceKeyFile); err != nil {
				return nil, err
			}
			return store.KeyFile(path)
		})
		if len(ids) != 1 {
			t.Errorf("%d keys: %v", len(ids), ids)
		}
		checkCreated(t, path)
	}
}

// The file is whole before it has its name, so that a crash at any moment leaves
// none or a good one; and a creation that fails leaves nothing behind.
func TestCreateKeyFileIsWholeBeforeItIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	crash := errors.New("crash")
	func() {
		defer func() {
			if p := recover(); p != crash {
				t.Errorf("panic %v", p)
			}
		}()
		_ = store.CreateKeyFile(path, func(temp, to string) error {
			b, err := os.ReadFile(temp)
			if err != nil || len(b) != 65 || to != path {
				t.Errorf("link %d bytes to %s, %v", len(b), to, err)
			}
			if info, err := os.Stat(temp); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("temporary file has mode %v, %v", info.Mode(), err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there before its time: %v", err)
			}
			panic(crash)
		})
	}()
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// race runs load on n goroutines at once and returns the ids that they got, with
// how often.
func race(tb testing.TB, n int, load func() (store.KeyWrapper, error)) map[string]int {
	tb.Helper()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		ids   = map[string]int{}
		start = make(chan struct{})
	)
	for range n {
		wg.Go(func() {
			<-start
			w, err := load()
			if err != nil {
				tb.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[w.KeyID()]++
		})
	}
	close(start)
	wg.Wait()
	return ids
}

func TestLoadOrCreateKeyFileConcurrent(t *testing.T) {
	for range 10 {
		path := filepath.Join(t.TempDir(), "new", "key")
		ids := race(t, 16, func() (store.KeyWrapper, error) { return store.LoadOrCreateKeyFile(path) })
		if len(ids) != 1 {
			t.Errorf("%d keys: %v", len(ids), ids)
		}
		checkCreated(t, path)
	}
}

func init() {
	childRoles["LoadOrCreateKeyFile"] = func(args []string) {
		fmt.Println("ready")
		_, _ = os.Stdin.Read(make([]byte, 1))
		w, err := store.LoadOrCreateKeyFile(args[0])
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("id " + w.KeyID())
	}
}

// Processes that start at the same time all get the same key.
func TestLoadOrCreateKeyFileProcesses(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "new", "key")
		var children []*child
		for range 4 {
			children = append(children, startChild(t, nil, "LoadOrCreateKeyFile", path))
		}
		for _, c := range children {
			c.expect("ready")
		}
		for _, c := range children { // the barrier: they go on when their input ends
			if err := c.in.Close(); err != nil {
				t.Fatal(err)
			}
		}
		ids := map[string]int{}
		for _, c := range children {
			ids[c.line()]++
		}
		w, err := store.KeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) != 1 || ids["id "+w.KeyID()] != len(children) {
			t.Errorf("children got %v, the file has %q", ids, w.KeyID())
		}
		for _, c := range children {
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		}
		checkCreated(t, path)
	}
}
