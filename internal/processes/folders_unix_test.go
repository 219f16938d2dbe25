//go:build unix

package processes_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// edit changes the bytes of the record, and returns what puts them back.
func (w *world) edit(t testing.TB, change func([]byte) []byte) (undo func()) {
	t.Helper()
	path := w.file(account)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(change(bytes.Clone(b)))
	return func() { write(b) }
}

// badFolders are the ways in which a folder with a token in it goes bad. spoil
// returns what mends it.
var badFolders = []struct {
	name  string
	kind  string
	op    string // what the error says that it was doing
	spoil func(t *testing.T, w *world, p *processes.Process) (mend func())
}{
	{"read-only", "ErrStoreUnavailable", "wait for", func(t *testing.T, w *world, _ *processes.Process) func() {
		chmod(t, w.dir, 0o500)
		return func() { chmod(t, w.dir, 0o700) }
	}},
	{"read-only after it was used", "ErrStoreUnavailable", "write", func(t *testing.T, w *world, _ *processes.Process) func() {
		for _, suffix := range []string{".lock", ".hold"} {
			if err := os.WriteFile(w.file(account)+suffix, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.handOver(t)
		chmod(t, w.dir, 0o500)
		return func() { chmod(t, w.dir, 0o700) }
	}},
	{"closed", "ErrStoreUnavailable", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		chmod(t, w.dir, 0)
		return func() { chmod(t, w.dir, 0o700) }
	}},
	{"gone", "ErrStoreUnavailable", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		aside := w.dir + "-unmounted"
		rename(t, w.dir, aside)
		return func() { rename(t, aside, w.dir) }
	}},
	{"disk full", "ErrStoreUnavailable", "write", func(t *testing.T, _ *world, p *processes.Process) func() {
		p.Do(t, processes.Order{Do: "limit", Limit: 0}).Want(t, "limit")
		return func() { p.Do(t, processes.Order{Do: "limit", Limit: -1}).Want(t, "limit") }
	}},
	{"record world-readable", "ErrStoreUnavailable", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		chmod(t, w.file(account), 0o644)
		return func() { chmod(t, w.file(account), 0o600) }
	}},
	{"record a symbolic link", "ErrStoreUnavailable", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		path, aside := w.file(account), w.file(account)+".elsewhere"
		rename(t, path, aside)
		if err := os.Symlink(aside, path); err != nil {
			t.Fatal(err)
		}
		return func() { rename(t, aside, path) }
	}},
	{"record truncated in the header", "ErrStoreCorrupt", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		return w.edit(t, func(b []byte) []byte { return b[:20] })
	}},
	{"record truncated in the token", "ErrStoreCorrupt", "open", func(t *testing.T, w *world, _ *processes.Process) func() {
		return w.edit(t, func(b []byte) []byte { return b[:len(b)-10] })
	}},
	{"record empty", "ErrStoreCorrupt", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		return w.edit(t, func([]byte) []byte { return nil })
	}},
	{"record of a newer format", "ErrStoreUnavailable", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		return w.edit(t, newerFormat)
	}},
	{"record with a first byte that was flipped", "ErrStoreCorrupt", "read", func(t *testing.T, w *world, _ *processes.Process) func() {
		return w.edit(t, func(b []byte) []byte { b[0] ^= 2; return b })
	}},
	{"record of another account", "ErrStoreCorrupt", "open", func(t *testing.T, w *world, _ *processes.Process) func() {
		real, err := os.ReadFile(w.file(account))
		if err != nil {
			t.Fatal(err)
		}
		other := w.elsewhere(t)
		if _, _, err := other.Store.Replace(t.Context(), "somebody else", w.Issue("eve")); err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile(other.file("somebody else"))
		if err != nil {
			t.Fatal(err)
		}
		w.edit(t, func([]byte) []byte { return theirs })
		return func() { w.edit(t, func([]byte) []byte { return real }) }
	}},
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// wantStoreError checks an error as a program and a person get it.
func (w *world) wantStoreError(t *testing.T, a processes.Answer, kind, op string) {
	t.Helper()
	a.WantKind(t, "a request", kind)
	if a.Is("ErrLoginRequired") {
		t.Errorf("%q is ErrLoginRequired: a store that cannot be read is no logout", a.Err)
	}
	if !strings.Contains(a.Err, "store: "+op) || !strings.Contains(a.Err, w.file(account)) {
		t.Errorf("%q does not name the operation, %q, and the file", a.Err, op)
	}
	w.WantSilent(t, "the error", a.Err)
}

// TestBadFolder lets a process meet each bad folder through its session, with a
// token that has expired. It gets a typed error that names the operation and the
// file; the refresh token is not spent, as its successor could not be stored; and
// once the folder is mended the same process goes on with the same session.
func TestBadFolder(t *testing.T) {
	t.Parallel()
	for _, tc := range badFolders {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.loginExpired(t, "alice")
			w.handOver(t)
			// A login leaves the lock files behind: the folder is as new.
			for _, suffix := range []string{".lock", ".hold"} {
				_ = os.Remove(w.file(account) + suffix)
			}
			p := w.Start(t, nil)
			mend := tc.spoil(t, w, p)
			mended := false
			t.Cleanup(func() {
				if !mended {
					mend() // or the folder cannot be removed
				}
			})
			for range 2 {
				w.wantStoreError(t, p.Get(t), tc.kind, tc.op)
			}
			if c := w.Server.Counters(); c.Refreshes != 0 || c.Requests != 0 {
				t.Errorf("%d refreshes and %d requests with a store that does not work", c.Refreshes, c.Requests)
			}
			mend()
			mended = true
			w.handOver(t)
			processes.Eventually(t, "it works once it is mended", func() bool { return p.Get(t).Status == 200 })
			p.Get(t).WantServed(t, "once it is mended", "alice")
			w.WantRefreshes(t, 1, 0)
			w.wantStored(t, tokenclient.Active, 2)
		})
	}
}

// TestBadFolderReadOnlyServesGoodToken has a token that has not expired in a folder
// that cannot be written: reading is enough.
func TestBadFolderReadOnlyServesGoodToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	w.handOver(t)
	chmod(t, w.dir, 0o500)
	t.Cleanup(func() { _ = os.Chmod(w.dir, 0o700) })
	p := w.Start(t, nil)
	p.Get(t).WantServed(t, "with a good token", "alice")
	w.Server.RevokeAccess("alice")
	a := p.Get(t)
	a.WantKind(t, "after a 401", "ErrStoreUnavailable")
	w.WantSilent(t, "the error", a.Err)
	w.WantRefreshes(t, 0, 0)
}

// TestBadFolderOtherKey opens a record with a key that is not the one it was sealed
// with: a mistake in the configuration, so the record must stay as it is, for the
// one who has the key.
func TestBadFolderOtherKey(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*processes.Settings){
		"of another id":  func(s *processes.Settings) { s.KeyID, s.SealKey = "other", bytes.Repeat([]byte{8}, 32) },
		"of the same id": func(s *processes.Settings) { s.SealKey = bytes.Repeat([]byte{8}, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.loginExpired(t, "alice")
			p := w.Start(t, change)
			w.wantStoreError(t, p.Get(t), "ErrStoreUnavailable", "open")
			w.WantRefreshes(t, 0, 0)
			w.Start(t, nil).Get(t).WantServed(t, "a process with the right key", "alice")
			w.WantRefreshes(t, 1, 0)
		})
	}
}

// TestBadFolderAtStart has folders that a program must not begin with: they let
// others at the tokens, or may be switched for another. The error names the folder
// and what is wrong with it.
func TestBadFolderAtStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		says  string
		spoil func(t *testing.T, w *world)
	}{
		{"world-readable", "0755", func(t *testing.T, w *world) { chmod(t, w.dir, 0o755) }},
		{"symbolic link", "symbolic link", func(t *testing.T, w *world) {
			rename(t, w.dir, w.dir+"-elsewhere")
			if err := os.Symlink(w.dir+"-elsewhere", w.dir); err != nil {
				t.Fatal(err)
			}
		}},
		{"file", "not a folder", func(t *testing.T, w *world) {
			rename(t, w.dir, w.dir+"-elsewhere")
			if err := os.WriteFile(w.dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.loginExpired(t, "alice")
			tc.spoil(t, w)
			a := w.Launch(t, nil).WaitFirst(t)
			if a.Event != "refused to start" {
				t.Fatal("NewFile took the folder")
			}
			a.WantKind(t, "NewFile", "ErrStoreUnavailable")
			for _, part := range []string{"store: NewFile", w.dir, tc.says} {
				if !strings.Contains(a.Err, part) {
					t.Errorf("%q does not say %q", a.Err, part)
				}
			}
			w.WantSilent(t, "the error", a.Err)
			w.WantRefreshes(t, 0, 0)
		})
	}
}

// TestBadFolderLogin logs in over records that cannot be used, by damage or because a newer
// program wrote them: whoever logs in means to replace what is there.
func TestBadFolderLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	p := w.Start(t, nil)
	for name, spoil := range map[string]func([]byte) []byte{
		"a newer format":   newerFormat,
		"a flipped byte":   func(b []byte) []byte { b[0] ^= 2; return b },
		"a damaged record": func(b []byte) []byte { return b[:20] },
	} {
		w.edit(t, spoil)
		token := w.Issue("bob")
		p.Login(t, token)
		p.Get(t).WantServed(t, "after a login over "+name, "bob")
		w.Start(t, nil).Get(t).WantServed(t, "a later process, after a login over "+name, "bob")
		w.wantStored(t, tokenclient.Active, 1)
	}
	w.WantRefreshes(t, 0, 0)
}

// newerFormat is the record b as a later version may write it: with another first byte and
// the checksum of that.
func newerFormat(b []byte) []byte {
	b[0]++
	binary.BigEndian.PutUint32(b[63:], crc32.Checksum(b[:63], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
