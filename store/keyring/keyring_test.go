package keyring_test

import (
	"encoding/base64"
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
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/keyring"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const service, account = "com.example.cli", "tokens"

// A fakeRing is a keyring in memory. before, if not nil, is called at the begin of
// each call, with "get" or "set", and its error is that of the call.
type fakeRing struct {
	mu     sync.Mutex
	items  map[string]string
	sets   int
	before func(op string) error
}

func (f *fakeRing) ring() keyring.Ring {
	return keyring.Ring{
		Get: func(service, account string) (string, error) {
			if f.before != nil {
				if err := f.before("get"); err != nil {
					return "", err
				}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			v, ok := f.items[service+"\n"+account]
			if !ok {
				return "", keyring.ErrAbsent
			}
			return v, nil
		},
		Set: func(service, account, value string) error {
			if f.before != nil {
				if err := f.before("set"); err != nil {
					return err
				}
			}
			f.put(service, account, value)
			return nil
		},
	}
}

func (f *fakeRing) put(service, account, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.items == nil {
		f.items = make(map[string]string)
	}
	f.items[service+"\n"+account] = value
	f.sets++
}

func (f *fakeRing) value() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.items[service+"\n"+account]
}

func (f *fakeRing) wantSets(tb testing.TB, want int) {
	tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sets != want {
		tb.Errorf("the keyring was written %d times, want %d", f.sets, want)
	}
}

func newFolder(tb testing.TB) string { return filepath.Join(tb.TempDir(), "app") }

func mustKey(tb testing.TB, f *fakeRing, dir string) store.KeyWrapper {
	tb.Helper()
	w, err := keyring.KeyIn(f.ring(), dir, service, account)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// refused checks that there is no key, but an error that is ErrStoreUnavailable and
// has all of texts in it.
func refused(tb testing.TB, w store.KeyWrapper, err error, texts ...string) {
	tb.Helper()
	if w != nil || !errors.Is(err, tokenclient.ErrStoreUnavailable) {
		tb.Fatalf("got %v, %v; want an error that is ErrStoreUnavailable", w, err)
	}
	for _, text := range append(texts, "keyring: Key: ", service, account) {
		if !strings.Contains(err.Error(), text) {
			tb.Errorf("error does not say %q: %v", text, err)
		}
	}
}

func sameKey(tb testing.TB, a, b store.KeyWrapper) {
	tb.Helper()
	wrapped, err := a.Wrap(make([]byte, 32), "label")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := b.Unwrap(wrapped, "label"); err != nil || a.KeyID() != b.KeyID() {
		tb.Errorf("%v and %v are not the same key: %v", a, b, err)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	f, dir := &fakeRing{}, newFolder(t)
	first := mustKey(t, f, dir)
	sameKey(t, first, mustKey(t, f, dir))
	f.wantSets(t, 1)

	// The key is what is in the item, and known by the same id elsewhere.
	text, ok := strings.CutPrefix(f.value(), "silentrefresh-key-1:")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != 32 || len(f.value()) != 63 {
		t.Fatalf("the item holds %d bytes, %v", len(f.value()), err)
	}
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := store.KeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, first, file)

	if b, err := os.ReadFile(keyring.Marker(dir, service, account)); err != nil || string(b) != first.KeyID()+"\n" {
		t.Errorf("marker holds %q, %v", b, err)
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]fs.FileMode{dir: 0o700, keyring.Marker(dir, service, account): 0o600, keyring.LockFile(dir, service, account): 0o600} {
			if info, err := os.Stat(path); err != nil {
				t.Error(err)
			} else if info.Mode().Perm() != want {
				t.Errorf("%s: %v", path, info.Mode())
			}
		}
	}

	// Another item in the same folder is another key.
	other, err := keyring.KeyIn(f.ring(), dir, service, "other")
	if err != nil || other.KeyID() == first.KeyID() {
		t.Errorf("other account: %v, %v", other, err)
	}
}

// A key that is there takes no lock, and no right to write.
func TestKeyExistingNeedsNoLock(t *testing.T) {
	t.Parallel()
	f, dir := &fakeRing{}, newFolder(t)
	first := mustKey(t, f, dir)
	lock := flock.New(keyring.LockFile(dir, service, account))
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	sameKey(t, first, mustKey(t, f, dir))
}

// The first process died before it wrote the marker, or the folder is new.
func TestKeyWithoutMarkerIsMarked(t *testing.T) {
	t.Parallel()
	f, dir := &fakeRing{}, newFolder(t)
	first := mustKey(t, f, dir)
	if err := os.Remove(keyring.Marker(dir, service, account)); err != nil {
		t.Fatal(err)
	}
	sameKey(t, first, mustKey(t, f, dir))
	f.wantSets(t, 1)
	if _, err := os.Stat(keyring.Marker(dir, service, account)); err != nil {
		t.Error(err)
	}
}

func TestKeyConcurrent(t *testing.T) {
	t.Parallel()
	f, dir := &fakeRing{}, newFolder(t)
	keys := make([]store.KeyWrapper, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = keyring.KeyIn(f.ring(), dir, service, account); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, k := range keys {
		sameKey(t, keys[0], k)
	}
	f.wantSets(t, 1)
}

func TestKeyForeignItem(t *testing.T) {
	t.Parallel()
	good := &fakeRing{}
	mustKey(t, good, newFolder(t))
	v := good.value()
	for what, value := range map[string]string{
		"empty":           "",
		"a password":      "correct horse battery staple",
		"a later form":    strings.Replace(v, "key-1:", "key-2:", 1),
		"no form":         strings.TrimPrefix(v, "silentrefresh-key-1:"),
		"cut":             v[:len(v)-1],
		"longer":          v + "A",
		"line break":      v + "\n",
		"line break amid": v[:40] + "\n" + v[40:],
		"other alphabet":  v[:40] + "+" + v[41:],
		"large":           strings.Repeat("x", 1<<20),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f, dir := &fakeRing{}, newFolder(t)
			f.put(service, account, value)
			for range 2 {
				w, err := keyring.KeyIn(f.ring(), dir, service, account)
				refused(t, w, err, fmt.Sprintf("holds %d bytes that are no key", len(value)))
				if value != "" && strings.Contains(err.Error(), value) {
					t.Errorf("error shows the item: %.200v", err)
				}
			}
			if f.value() != value {
				t.Error("the item was replaced")
			}
			f.wantSets(t, 1)
		})
	}
}

// A keyring that fails is not one without the item.
func TestKeyLocked(t *testing.T) {
	t.Parallel()
	locked := errors.New("failed to unlock correct collection")
	f, dir := &fakeRing{}, newFolder(t)
	f.before = func(string) error { return locked }
	w, err := keyring.KeyIn(f.ring(), dir, service, account)
	refused(t, w, err, "read the keyring: failed to unlock")
	if !errors.Is(err, locked) {
		t.Errorf("the cause is lost: %v", err)
	}
	f.wantSets(t, 0)
	if _, err := os.Stat(keyring.Marker(dir, service, account)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a marker: %v", err)
	}
}

func TestKeyNotStored(t *testing.T) {
	t.Parallel()
	other := &fakeRing{}
	mustKey(t, other, newFolder(t))
	for what, c := range map[string]struct {
		set  func(f *fakeRing) error
		want string
	}{
		"error":        {func(*fakeRing) error { return errors.New("disk full") }, "write to the keyring: disk full"},
		"user said no": {func(*fakeRing) error { return nil }, "does not have it"},
		"overtaken":    {func(f *fakeRing) error { f.put(service, account, other.value()); return nil }, "another program"},
		"garbled":      {func(f *fakeRing) error { f.put(service, account, "?"); return nil }, "no key of this package"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f, dir := &fakeRing{}, newFolder(t)
			r := f.ring()
			r.Set = func(_, _, value string) error {
				if len(value) > 100 {
					t.Errorf("%d bytes", len(value))
				}
				return c.set(f)
			}
			w, err := keyring.KeyIn(r, dir, service, account)
			refused(t, w, err, c.want)
			if _, err := os.Stat(keyring.Marker(dir, service, account)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a marker: %v", err)
			}
		})
	}
}

func TestKeyGone(t *testing.T) {
	t.Parallel()
	for what, put := range map[string]string{"deleted": "", "replaced": "silentrefresh-key-1:" + strings.Repeat("A", 43)} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f, dir := &fakeRing{}, newFolder(t)
			first := mustKey(t, f, dir)
			f.mu.Lock()
			f.items = nil
			f.mu.Unlock()
			if put != "" {
				f.put(service, account, put)
			}
			f.sets = 0
			marker := keyring.Marker(dir, service, account)
			for range 2 {
				w, err := keyring.KeyIn(f.ring(), dir, service, account)
				refused(t, w, err, first.KeyID(), "remove "+marker+" and log in again")
			}
			f.wantSets(t, 0)

			if err := os.Remove(marker); err != nil {
				t.Fatal(err)
			}
			if second := mustKey(t, f, dir); second.KeyID() == first.KeyID() {
				t.Error("the key is back")
			}
		})
	}
}

func TestKeyMarkerDamaged(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "0123", "0123456789abcdef0", "0123456789abcdeg\n"} {
		f, dir := &fakeRing{}, newFolder(t)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		marker := keyring.Marker(dir, service, account)
		if err := os.WriteFile(marker, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := keyring.KeyIn(f.ring(), dir, service, account)
		refused(t, w, err, marker+" does not hold the id of a key")
		f.wantSets(t, 0)
	}
}

func TestKeyFolder(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"loose":   {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o750)) }, "0750"},
		"file":    {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a folder"},
		"symlink": {func(dir string) error { return os.Symlink(filepath.Dir(dir), dir) }, "not a folder"},
	} {
		if what != "file" && runtime.GOOS == "windows" {
			continue // modes do not tell, and links need a privilege
		}
		f, dir := &fakeRing{}, newFolder(t)
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		w, err := keyring.KeyIn(f.ring(), dir, service, account)
		refused(t, w, err, dir, c.want)
		f.wantSets(t, 0)
	}
}

func TestKeyArguments(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", keyring.MaxName)
	dir := newFolder(t)
	for _, c := range []struct{ dir, service, account, want string }{
		{"", service, account, "folder is empty"},
		{dir, "", account, "service is empty"},
		{dir, service, "", "account is empty"},
		{dir, long + "x", account, "256 bytes"},
		{dir, service, long + "x", "256 bytes"},
		{dir, "a\nb", account, "control"},
		{dir, service, "a\x00", "control"},
		{dir, service, "\xff", "UTF-8"},
		{dir, service, "a:b", "colon"},
	} {
		f := &fakeRing{}
		w, err := keyring.KeyIn(f.ring(), c.dir, c.service, c.account)
		if err == nil || w != nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Errorf("%.20q, %.20q, %.20q: %v, %v", c.dir, c.service, c.account, w, err)
		}
		f.wantSets(t, 0)
	}
	f := &fakeRing{}
	if _, err := keyring.KeyIn(f.ring(), dir, "https://example.com/"+long[:200], long); err != nil {
		t.Error(err)
	}
}

func TestKeyUnsupported(t *testing.T) {
	t.Parallel()
	f := &fakeRing{before: func(string) error { return fmt.Errorf("%w on plan9", keyring.ErrNoRing) }}
	_, err := keyring.KeyIn(f.ring(), newFolder(t), service, account)
	if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, tokenclient.ErrStoreUnavailable) {
		t.Error(err)
	}
}

func TestKeyPanic(t *testing.T) {
	t.Parallel()
	f, dir := &fakeRing{}, newFolder(t)
	f.before = func(op string) error {
		if op == "set" {
			panic("secret")
		}
		return nil
	}
	w, err := keyring.KeyIn(f.ring(), dir, service, account)
	refused(t, w, err, "write to the keyring")
	if strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	f.before = nil
	mustKey(t, f, dir) // the lock is free
}

// TestKeyHang: a question on the screen costs a caller the limit, not more. While
// a write may still come of it no other key is made, and what came of it counts.
func TestKeyHang(t *testing.T) {
	for what, c := range map[string]struct {
		op      string
		calls   int   // how many calls of op go through before
		err     error // what the call that hangs returns in the end
		locked  bool  // whether the next caller is kept out
		wantSet bool  // whether the first caller's key gets there in the end
	}{
		"first read":  {op: "get"},
		"second read": {op: "get", calls: 1, locked: true},
		"write":       {op: "set", locked: true, wantSet: true},
		"write fails": {op: "set", err: errors.New("dismissed"), locked: true},
		"read back":   {op: "get", calls: 2, locked: true, wantSet: true},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := newFolder(t)
				answer := make(chan struct{})
				f := &fakeRing{}
				answers := f.ring() // of a keyring that does not hang
				slow := answers
				slow.Get = func(service, account string) (string, error) {
					if c.op == "get" {
						if c.calls--; c.calls < 0 {
							<-answer
						}
					}
					return answers.Get(service, account)
				}
				slow.Set = func(service, account, value string) error {
					if c.op == "set" {
						<-answer
					}
					if c.err != nil {
						return c.err
					}
					return answers.Set(service, account, value)
				}

				start := time.Now()
				w, err := keyring.KeyIn(slow, dir, service, account)
				refused(t, w, err, "not done within 30s: "+map[string]string{"get": "read the keyring", "set": "write to the keyring"}[c.op])
				if d := time.Since(start); d != keyring.Limit {
					t.Errorf("took %v", d)
				}
				if c.locked {
					w, err = keyring.KeyIn(answers, dir, service, account)
					refused(t, w, err, "not done within 30s: lock "+keyring.LockFile(dir, service, account))
				} else {
					mustKey(t, f, dir)
				}

				close(answer)
				synctest.Wait()
				before := f.value()
				if (before != "") != (c.wantSet || !c.locked) {
					t.Errorf("after the answer the item holds %d bytes", len(before))
				}
				mustKey(t, f, dir)
				if before != "" && f.value() != before {
					t.Error("a second key shadows the first")
				}
				f.wantSets(t, 1)
			})
		})
	}
}

// TestKeyLockHeld: another process is making the key.
func TestKeyLockHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, dir := &fakeRing{}, newFolder(t)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := keyring.LockFile(dir, service, account)
		lock := flock.New(path)
		if err := lock.Lock(); err != nil {
			t.Fatal(err)
		}
		w, err := keyring.KeyIn(f.ring(), dir, service, account)
		refused(t, w, err, "not done within 30s: lock "+path)
		f.wantSets(t, 0)

		done := make(chan store.KeyWrapper)
		go func() {
			w, err := keyring.KeyIn(f.ring(), dir, service, account)
			if err != nil {
				t.Error(err)
			}
			done <- w
		}()
		time.Sleep(keyring.Limit / 2)
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		<-done
		f.wantSets(t, 1)
	})
}
