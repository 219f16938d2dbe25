//go:build unix

package store_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What others have put in the place of a folder, record, lock or key, or made of it.

// nobody is another user.
const nobody = 65534

// within fails the test if f does not return in time, which is longer than anything takes
// here that does not hang.
func within(t *testing.T, what string, f func() error) (err error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err = <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s hangs", what)
	}
	return err
}

// notFiles are ways to make something at path that is not a file; target is beside it.
var notFiles = map[string]func(path, target string) error{
	"named pipe": func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
	"link": func(path, target string) error {
		return errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, path))
	},
	"dangling link": func(path, target string) error { return os.Symlink(target, path) },
	"folder":        func(path, _ string) error { return os.Mkdir(path, 0o700) },
	"socket": func(path, _ string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	},
}

// TestFileLocksAreFiles: a lock that is a pipe would be waited for beyond any context, and
// one that is a link is somewhere else for each process.
func TestFileLocksAreFiles(t *testing.T) {
	for name, makeIt := range notFiles {
		for _, suffix := range []string{".lock", ".hold"} {
			t.Run(name+suffix, func(t *testing.T) {
				t.Chdir(t.TempDir()) // a socket's path must be short
				f := openFile(t, "tokens")
				seen := login(t, f, "k", "a")
				path := f.RecordPath("k") + suffix
				_ = os.Remove(path)
				if err := os.Chdir("tokens"); err != nil {
					t.Fatal(err)
				}
				short := "k" + suffix
				if err := errors.Join(makeIt(short, "../target"), os.Rename(short, path)); err != nil {
					t.Fatal(err)
				}
				_, before := os.Lstat("../target")
				check := func(what string, err error) {
					t.Helper()
					wantErr(t, err, tokenclient.ErrStoreUnavailable)
					if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "not a file") {
						t.Errorf("%s: %v", what, err)
					}
				}
				check("refresh", within(t, "refresh", func() error {
					_, err := f.Refresh(t.Context(), "k", seen, time.Second, never(t))
					return err
				}))
				if suffix == ".lock" { // the other one is for refreshes alone
					check("login", within(t, "login", func() error {
						_, _, err := f.Replace(t.Context(), "k", tok("b"))
						return err
					}))
					check("logout", within(t, "logout", func() error {
						_, _, err := f.Replace(t.Context(), "k", nil)
						return err
					}))
				}
				if _, after := os.Lstat("../target"); (before == nil) != (after == nil) {
					t.Error("the link was followed")
				}
				wantStored(t, f, "k", "refresh-a", 1)
			})
		}
	}
}

// TestKeyFileLockIsAFile, which is there only while the key is made.
func TestKeyFileLockIsAFile(t *testing.T) {
	for name, makeIt := range notFiles {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := makeIt("key.lock", "target"); err != nil {
				t.Fatal(err)
			}
			err := within(t, "LoadOrCreateKeyFile", func() error {
				_, err := store.LoadOrCreateKeyFile("key")
				return err
			})
			if err == nil || !strings.Contains(err.Error(), "not a file") {
				t.Error(err)
			}
			if entries, err := os.ReadDir("."); err != nil || len(entries) > 2 {
				t.Errorf("left over: %v, %v", entries, err)
			}
		})
	}
}

// TestFileLooksAtTheFolderAgain: not only when it is opened.
func TestFileLooksAtTheFolderAgain(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"group":    {func(dir string) error { return os.Chmod(dir, 0o770) }, "chmod 700"},
		"everyone": {func(dir string) error { return os.Chmod(dir, 0o777) }, "chmod 700"},
		"a link":   {func(dir string) error { return errors.Join(os.Rename(dir, dir+"x"), os.Symlink(dir+"x", dir)) }, "a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			f := openFile(t, dir)
			seen := login(t, f, "k", "a")
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, refreshErr := f.Refresh(t.Context(), "k", seen, time.Second, never(t))
			_, _, loginErr := f.Replace(t.Context(), "k", tok("b"))
			for what, err := range map[string]error{"refresh": refreshErr, "login": loginErr} {
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
					t.Errorf("%s: %v", what, err)
				}
			}
			wantStored(t, f, "k", "refresh-a", 1)
			if _, _, err := f.Replace(t.Context(), "k", nil); err != nil {
				t.Errorf("a logout, which brings no token there: %v", err)
			}
		})
	}
}

// TestFileSpoiledDuringTheCall: the new token is saved whatever became of modes and owners
// while the old one was exchanged, and that is told.
func TestFileSpoiledDuringTheCall(t *testing.T) {
	chmod := func(mode os.FileMode) func(string) error {
		return func(path string) error { return os.Chmod(path, mode) }
	}
	giveAway := func(path string) error { return os.Chown(path, nobody, nobody) }
	for name, c := range map[string]struct {
		spoil  func(path string) error
		suffix string
		folder bool
		root   bool   // only root can do it
		want   string // what the next refresh says
	}{
		"record for all":       {spoil: chmod(0o644), want: "mode 0644"},
		"record to write":      {spoil: chmod(0o666), want: "mode 0666"},
		"record for the group": {spoil: chmod(0o640), want: "mode 0640"},
		"record given away":    {spoil: giveAway, root: true, want: "65534"},
		"lock for all":         {spoil: chmod(0o666), suffix: ".lock"},
		"lock given away":      {spoil: giveAway, suffix: ".lock", root: true, want: "65534"},
		"hold given away":      {spoil: giveAway, suffix: ".hold", root: true, want: "65534"},
		"folder for all":       {spoil: chmod(0o777), folder: true, want: "mode 0777"},
		"folder given away":    {spoil: giveAway, folder: true, root: true, want: "65534"},
	} {
		if c.root && os.Getuid() != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			f := openFile(t, dir)
			seen := login(t, f, "k", "a")
			path := f.RecordPath("k") + c.suffix
			if c.folder {
				path = dir
			}
			rec, err := f.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				if err := c.spoil(path); err != nil {
					t.Error(err)
				}
				return next(ctx, cur)
			})
			if err != nil {
				t.Fatalf("not saved: %v", err)
			}
			wantToken(t, rec, "refresh-a'", 2)
			wantStored(t, f, "k", "refresh-a'", 2)
			if m := modeOf(t, f.RecordPath("k")); m != 0o600 {
				t.Errorf("the new record has mode %04o", m)
			}
			if c.want == "" {
				return
			}
			_, err = f.Refresh(t.Context(), "k", rec, time.Second, never(t))
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("the next refresh says %v", err)
			}
			if c.suffix == "" && !c.folder { // there is nothing left to mend
				if rec, err = f.Refresh(t.Context(), "k", rec, time.Second, next); err != nil {
					t.Fatal(err)
				}
				wantToken(t, rec, "refresh-a''", 3)
			}
		})
	}
}

func TestCheckOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	own := info.Sys().(*syscall.Stat_t)
	for _, c := range []struct {
		uid, owner int
		ok         bool
	}{
		{1000, 1000, true}, {1000, 0, true}, {0, 0, true},
		{1000, 1001, false}, {1000, 65534, false}, {0, 1000, false},
	} {
		own.Uid = uint32(c.owner)
		err := store.CheckOwnerFor(c.uid, path, info)
		if (err == nil) != c.ok {
			t.Errorf("user %d, file of %d: %v", c.uid, c.owner, err)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%v does not name the file", err)
		}
	}
}

// TestFileOfAnotherUser: folder, record, locks and key file that somebody else owns, though
// this user can use them.
func TestFileOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away, and use them then")
	}
	for name, suffix := range map[string]string{"folder": "/..", "record": "", "lock": ".lock", "hold": ".hold"} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			f := openFile(t, dir)
			seen, err := f.Refresh(t.Context(), "k", login(t, f, "k", "a"), time.Second, next)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Clean(f.RecordPath("k") + suffix)
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
			errs := map[string]error{}
			_, errs["refresh"] = f.Refresh(t.Context(), "k", seen, time.Second, never(t))
			if name != "hold" {
				_, _, errs["login"] = f.Replace(t.Context(), "k", tok("b"))
			}
			if name == "record" {
				_, errs["load"] = f.Load(t.Context(), "k")
			}
			if name == "folder" {
				_, errs["NewFile"] = store.NewFile(dir, store.Plaintext())
			}
			for what, err := range errs {
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				if !strings.Contains(err.Error(), path+" belongs to the user with id 65534") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
	key := writeKeyFile(t, string(rawKey(1)))
	if err := os.Chown(key, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if _, err := store.KeyFile(key); err == nil || !strings.Contains(err.Error(), key+" belongs to the user with id 65534") {
		t.Errorf("key file: %v", err)
	}
}
