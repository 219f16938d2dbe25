package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// openFile returns a File on dir that seals with the key that all processes of the
// tests have.
func openFile(t testing.TB, dir string) *store.File {
	t.Helper()
	f, err := store.NewFile(dir, store.Seal(keyOf(t, "test")))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newFolder returns the name of a folder that is not there yet.
func newFolder(t testing.TB) string { return filepath.Join(t.TempDir(), "parent", "tokens") }

func TestFileLife(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	rec, err := f.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrNoToken)
	if rec != (tokenclient.Record{}) {
		t.Errorf("absent: %v", rec)
	}
	seen := login(t, f, "k", "a")
	if _, err := f.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
		t.Fatal(err)
	}
	again := openFile(t, dir) // as the next start of the program does
	wantStored(t, again, "k", "refresh-a'", 2)
	if rec, err = again.Refresh(t.Context(), "k", seen, time.Second, never(t)); err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	out, was, err := again.Replace(t.Context(), "k", nil)
	if err != nil || out.State != tokenclient.LoggedOut {
		t.Fatalf("%v, %v", out, err)
	}
	wantToken(t, was, "refresh-a'", 2)
	rec, err = f.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrNoToken)
	if rec != out {
		t.Errorf("%v", rec)
	}
}

// TestFileHoldsNoSecret looks for tokens and keys in names and contents.
func TestFileHoldsNoSecret(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	secret := "refresh-planted"
	look := func() (found bool) {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			t.Fatalf("%d files, %v", len(entries), err)
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(b, []byte(secret)) || strings.Contains(e.Name(), "user")
		}
		return found
	}
	seen := login(t, f, "user", "planted")
	_, err := f.Refresh(t.Context(), "user", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		if look() {
			t.Error("found during fn")
		}
		return next(ctx, cur)
	})
	if err != nil || look() {
		t.Errorf("found, %v", err)
	}
	plain, err := store.NewFile(newFolder(t), store.Plaintext()) // the positive control
	if err != nil {
		t.Fatal(err)
	}
	login(t, plain, "user", "planted")
	dir = filepath.Dir(plain.RecordPath("user"))
	if !look() {
		t.Error("the search finds nothing")
	}
}

func TestFileAnyKey(t *testing.T) {
	f := openFile(t, newFolder(t))
	keys := []string{"", ".", "..", "/", "../../etc/passwd", "a/b", "a\\b", "C:", "nul", "\x00", "a\x00b", "A", "a", "\xff\xfe",
		"line\nbreak", " ", "*", strings.Repeat("é", 512), strings.Repeat("é", 513), strings.Repeat("x", 1<<20)}
	for i, key := range keys {
		seen := login(t, f, key, strconv.Itoa(i))
		if _, err := f.Refresh(t.Context(), key, seen, time.Second, next); err != nil {
			t.Fatalf("key %.20q: %v", key, err)
		}
	}
	for i, key := range keys {
		wantStored(t, f, key, fmt.Sprintf("refresh-%d'", i), 2)
	}
	dir := filepath.Dir(f.RecordPath(""))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !regexp.MustCompile(`^[0-9a-f]{64}(\.lock|\.hold)?$`).MatchString(e.Name()) {
			t.Errorf("file %q", e.Name())
		}
	}
	if len(entries) != 3*len(keys) {
		t.Errorf("%d files for %d keys", len(entries), len(keys))
	}
}

func TestFileLargeToken(t *testing.T) {
	f := openFile(t, newFolder(t))
	for _, size := range []int{64 << 10, 1 << 20} {
		name := strings.Repeat("x", size)
		seen := login(t, f, "k", name)
		if _, err := f.Refresh(t.Context(), "k", seen, time.Minute, next); err != nil {
			t.Fatal(err)
		}
		wantStored(t, f, "k", "refresh-"+name+"'", 2)
	}
}

func TestNewFileRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := store.Plaintext()
	for name, c := range map[string]struct {
		dir    string
		sealer *store.Sealer
		want   string
	}{
		"no folder":       {"", good, "empty"},
		"file":            {file, good, "is a file, not a folder"},
		"below a file":    {filepath.Join(file, "x"), good, "file"},
		"nil sealer":      {newFolder(t), nil, "Sealer"},
		"zero sealer":     {newFolder(t), &store.Sealer{}, "Sealer"},
		"sealer of a nil": {newFolder(t), store.Seal(nil), "nil"},
	} {
		_, err := store.NewFile(c.dir, c.sealer)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if c.want != "Sealer" && c.want != "nil" {
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
		} else {
			if _, err := os.Lstat(c.dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: the folder was made", name)
			}
		}
	}
}

// TestFileStaysInItsFolder though the program goes elsewhere.
func TestFileStaysInItsFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	f := openFile(t, "tokens")
	login(t, f, "k", "a")
	t.Chdir(t.TempDir())
	wantStored(t, f, "k", "refresh-a", 1)
}

// TestFileFolderIsGone: that is not "nobody logged in".
func TestFileFolderIsGone(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	seen := login(t, f, "k", "a")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err := f.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	_, err = f.Refresh(t.Context(), "k", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	_, _, err = f.Replace(t.Context(), "k", tok("b"))
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	if !strings.Contains(err.Error(), dir) {
		t.Errorf("%v does not name the folder", err)
	}
}

// aside returns what was kept aside of key.
func aside(t testing.TB, f *store.File, key string) (contents []string) {
	t.Helper()
	names, err := filepath.Glob(f.RecordPath(key) + ".corrupt-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`\.corrupt-\d{8}T\d{6}\.\d{9}Z$`).MatchString(name) {
			t.Errorf("name %s", name)
		}
		contents = append(contents, string(b))
	}
	return contents
}

func TestFileCorruptRecordIsKeptAside(t *testing.T) {
	f := openFile(t, newFolder(t))
	seen := login(t, f, "k", "a")
	path := f.RecordPath("k")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := newerFormat(whole)
	for name, raw := range map[string][]byte{"empty": {}, "truncated": whole[:20], "newer": newer,
		"first byte flipped": append([]byte{whole[0] ^ 2}, whole[1:]...)} {
		t.Run(name, func(t *testing.T) {
			kind := tokenclient.ErrStoreCorrupt
			if name == "newer" {
				kind = tokenclient.ErrStoreUnavailable
			}
			before := len(aside(t, f, "k"))
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := f.Load(t.Context(), "k")
			wantErr(t, err, kind)
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%v does not name the file", err)
			}
			_, err = f.Refresh(t.Context(), "k", seen, time.Second, never(t))
			wantErr(t, err, kind)
			_, _, err = f.Replace(t.Context(), "k", nil)
			wantErr(t, err, kind)
			if b, _ := os.ReadFile(path); !bytes.Equal(b, raw) || len(aside(t, f, "k")) != before {
				t.Fatal("touched by a logout")
			}
			_, _, err = f.Replace(t.Context(), "k", tok("b"))
			kept := aside(t, f, "k")
			if err != nil {
				t.Fatal(err)
			}
			wantStored(t, f, "k", "refresh-b", 1)
			if len(raw) == 0 { // there is nothing to keep
				return
			}
			if len(kept) != before+1 {
				t.Fatalf("%d files kept aside, want one more than %d", len(kept), before)
			}
			if !strings.Contains(strings.Join(kept, "|")+"|", string(raw)+"|") {
				t.Errorf("kept aside: %q", kept)
			}
		})
	}
}

// TestFileFlippedBit: whichever bit of a record is flipped, the error says that a login
// helps, and it does. Bits that a claim changes without the key may go unnoticed; those
// have the checksum.
func TestFileFlippedBit(t *testing.T) {
	for name, sealer := range map[string]*store.Sealer{
		"key": store.Seal(keyOf(t, "test")), "plaintext": store.Plaintext(),
		"passphrase": store.Seal(store.CheapPassphrase("phrase", nil)),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := store.NewFile(newFolder(t), sealer)
			if err != nil {
				t.Fatal(err)
			}
			login(t, f, "k", "a")
			whole, err := os.ReadFile(f.RecordPath("k"))
			if err != nil {
				t.Fatal(err)
			}
			for bit := range 8 * len(whole) {
				flipped := bytes.Clone(whole)
				flipped[bit/8] ^= 1 << (bit % 8)
				if err := os.WriteFile(f.RecordPath("k"), flipped, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := f.Load(t.Context(), "k")
				if err == nil || !strings.Contains(err.Error(), "log in again, which replaces the record") {
					t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
				}
				if bit%8 == 1 { // which makes a newer format of the first byte
					login(t, f, "k", "b")
					wantStored(t, f, "k", "refresh-b", 1)
				}
			}
		})
	}
}

// newerFormat is the record b as a later version may write it: with another first byte and
// the checksum of that.
func newerFormat(b []byte) []byte {
	b = append([]byte{protocol.Format + 1}, b[1:]...)
	binary.BigEndian.PutUint32(b[63:], crc32.Checksum(b[:63], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestFileRecordTooLarge(t *testing.T) {
	f := openFile(t, newFolder(t))
	login(t, f, "k", "a")
	if err := os.Truncate(f.RecordPath("k"), 17<<20); err != nil {
		t.Fatal(err)
	}
	_, err := f.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
	_, _, err = f.Replace(t.Context(), "k", tok("b"))
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
}

// TestFileTokenTooLarge: a token whose record nobody would read is not stored. After an exchange
// it is, without what makes it so large: the tokens are good.
func TestFileTokenTooLarge(t *testing.T) {
	large := tok("b")
	large.Extra = map[string]any{"large": strings.Repeat("x", 15<<20)}
	f := openFile(t, newFolder(t))
	seen := login(t, f, "k", "a")
	if _, _, err := f.Replace(t.Context(), "k", large); err == nil || errors.Is(err, tokenclient.ErrStoreUnavailable) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("login: %v", err)
	}
	wantStored(t, f, "k", "refresh-a", 1)
	if _, err := f.Refresh(t.Context(), "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return large, nil
	}); err != nil {
		t.Errorf("refresh: %v", err)
	}
	wantStored(t, f, "k", "refresh-b", 2)
}

func TestFileMovedUnderAnotherName(t *testing.T) {
	f := openFile(t, newFolder(t))
	seen := login(t, f, "alice", "a")
	b, err := os.ReadFile(f.RecordPath("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.RecordPath("bob"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = f.Load(t.Context(), "bob")
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
	_, err = f.Refresh(t.Context(), "bob", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
	login(t, f, "bob", "b")
	wantStored(t, f, "alice", "refresh-a", 1)
	wantStored(t, f, "bob", "refresh-b", 1)
}

func TestFileSealedWithAnotherKey(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	seen := login(t, f, "k", "a")
	other, err := store.NewFile(dir, store.Seal(keyOf(t, "other")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	_, err = other.Refresh(t.Context(), "k", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	out, was, err := other.Replace(t.Context(), "k", nil)
	if err != nil || was.Token != nil || was.Era != seen.Era || out.State != tokenclient.LoggedOut {
		t.Fatalf("logout: %v over %v, %v", out, was, err)
	}
	both, err := store.NewFile(dir, store.Seal(keyOf(t, "other"), keyOf(t, "test")))
	if err != nil {
		t.Fatal(err)
	}
	seen = login(t, f, "k", "a")
	if _, err := both.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
		t.Fatal(err)
	}
	wantStored(t, other, "k", "refresh-a'", 2) // now under the new key
}

// TestFileSweepsTemporaryFiles of writers that were killed, and no others.
func TestFileSweepsTemporaryFiles(t *testing.T) {
	dir := newFolder(t)
	login(t, openFile(t, dir), "k", "a")
	young, old := filepath.Join(dir, ".tmp-young"), filepath.Join(dir, ".tmp-old")
	for _, name := range []string{young, old} {
		if err := os.WriteFile(name, []byte("half a record"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	login(t, openFile(t, dir), "k", "b")
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old temporary file is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a young one was removed: %v", err)
	}
}

// TestFileConcurrentSafe: two Files on one folder in one process.
func TestFileConcurrentSafe(t *testing.T) {
	dir := newFolder(t)
	files := []*store.File{openFile(t, dir), openFile(t, dir)}
	login(t, files[0], "k", "0")
	const each = 10
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { increment(t.Context(), t.Errorf, files[i%2], each) })
	}
	wg.Wait()
	wantStored(t, files[1], "k", fmt.Sprintf("refresh-%d", 6*each), 6*each+1)
}

// TestFileConcurrentSafeLogins: two that think they replaced the same record would
// be a lost login.
func TestFileConcurrentSafeLogins(t *testing.T) {
	dir := newFolder(t)
	login(t, openFile(t, dir), "k", "first")
	var mu sync.Mutex
	replaced := map[[16]byte]string{} // era to who came after it
	var wg sync.WaitGroup
	for i := range 4 {
		f := openFile(t, dir)
		wg.Go(func() {
			for j := range 10 {
				mine := tok(fmt.Sprintf("%d-%d", i, j))
				now, was, err := f.Replace(t.Context(), "k", mine)
				if err != nil {
					t.Error(err)
					return
				}
				if now.Token.RefreshToken != mine.RefreshToken {
					continue // overtaken by a later one
				}
				mu.Lock()
				if other := replaced[was.Era]; other != "" {
					t.Errorf("%s and %s replaced the same record", other, mine.RefreshToken)
				}
				replaced[was.Era] = mine.RefreshToken
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(replaced) == 0 {
		t.Error("nobody logged in")
	}
}

// increment counts the refresh token of "k" up n times.
func increment(ctx context.Context, errorf func(string, ...any), s tokenclient.Store, n int) {
	for n > 0 {
		seen, err := s.Load(ctx, "k")
		if err == nil {
			_, err = s.Refresh(ctx, "k", seen, time.Minute, func(_ context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				n--
				i, err := strconv.Atoi(strings.TrimPrefix(cur.Token.RefreshToken, "refresh-"))
				if cur.Announced != 1 || cur.Number != uint64(i)+1 {
					errorf("%d announced for number %d, %d", cur.Announced, cur.Number, i)
				}
				return tok(strconv.Itoa(i + 1)), err
			})
		}
		if err != nil {
			errorf("%v", err)
			return
		}
	}
}

func TestFileContextEnds(t *testing.T) {
	f := openFile(t, newFolder(t))
	seen := login(t, f, "k", "a")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() error{
		"load":    func() error { _, err := f.Load(ended, "k"); return err },
		"login":   func() error { _, _, err := f.Replace(ended, "k", tok("b")); return err },
		"logout":  func() error { _, _, err := f.Replace(ended, "k", nil); return err },
		"refresh": func() error { _, err := f.Refresh(ended, "k", seen, time.Second, never(t)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			err := do()
			wantErr(t, err, context.Canceled)
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
		})
	}
	// Behind a holder in another File, which is as another process to this one.
	other := openFile(t, filepath.Dir(f.RecordPath("k")))
	_, err := other.Refresh(t.Context(), "k", seen, time.Hour, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		// On a busy machine a short time may end before the waiter has seen the holder.
		for long := 50 * time.Millisecond; ; long *= 2 {
			short, cancel := context.WithTimeout(t.Context(), long)
			_, err := f.Refresh(short, "k", seen, time.Second, never(t))
			cancel()
			wantErr(t, err, context.DeadlineExceeded)
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
			if strings.Contains(err.Error(), "held by another") {
				break
			}
			if long > time.Minute {
				t.Fatalf("%v", err)
			}
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantStored(t, f, "k", "refresh-a'", 2)
}

// TestFileShortLockIsHeld by a process that was stopped while it wrote. Nothing can
// be written meanwhile; reading goes on, and nobody waits longer than his context.
func TestFileShortLockIsHeld(t *testing.T) {
	f := openFile(t, newFolder(t))
	seen := login(t, f, "k", "a")
	other := flock.New(f.RecordPath("k") + ".lock")
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := f.Replace(ctx, "k", nil)
	wantErr(t, err, context.DeadlineExceeded)
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	_, err = f.Refresh(ctx, "k", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	wantStored(t, f, "k", "refresh-a", 1)
	if err := other.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err = f.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
		t.Fatal(err)
	}
}

// wantLetGo gives a call of f up and logs in, and fails the test unless what came of the login
// is exchanged without waiting for the hold of that call, which is an hour long.
func wantLetGo(t *testing.T, f *store.File) {
	t.Helper()
	seen := login(t, f, "k", "a")
	_, err := f.Refresh(t.Context(), "k", seen, time.Hour, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return nil, context.DeadlineExceeded
	})
	wantErr(t, err, context.DeadlineExceeded)
	seen = login(t, f, "k", "b")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := f.Refresh(ctx, "k", seen, time.Minute, next); err != nil {
		t.Fatal(err)
	}
}
