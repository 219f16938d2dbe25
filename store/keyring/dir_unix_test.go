//go:build unix

package keyring_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store/keyring"
)

// TestKeyFilesAreFiles: a pipe in the place of the lock or the marker would be waited for, and
// a link be followed.
func TestKeyFilesAreFiles(t *testing.T) {
	t.Parallel()
	for place, path := range map[string]func(dir, service, account string) string{
		"lock": keyring.LockFile, "marker": keyring.Marker,
		"new marker": func(dir, service, account string) string { return keyring.Marker(dir, service, account) + ".new" },
	} {
		for name, makeIt := range map[string]func(path, target string) error{
			"named pipe": func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
			"link": func(path, target string) error {
				return errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, path))
			},
			"dangling link": func(path, target string) error { return os.Symlink(target, path) },
		} {
			t.Run(place+", "+name, func(t *testing.T) {
				t.Parallel()
				f, dir := &fakeRing{}, t.TempDir()
				if err := os.Chmod(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				path, target := path(dir, service, account), dir+"-target"
				if err := makeIt(path, target); err != nil {
					t.Fatal(err)
				}
				before, _ := os.Stat(target)
				w, err := keyring.KeyIn(f.ring(), dir, service, account)
				refused(t, w, err, path, "not a file")
				if after, _ := os.Stat(target); (before == nil) != (after == nil) || after != nil && after.Size() > 0 {
					t.Error("the link was followed")
				}
			})
		}
	}
}

// TestKeyFilesOfAnotherUser, though this user can use them.
func TestKeyFilesOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away, and use them then")
	}
	for name, path := range map[string]func(dir, service, account string) string{
		"folder": func(dir, _, _ string) string { return dir }, "lock": keyring.LockFile, "marker": keyring.Marker,
	} {
		f, dir := &fakeRing{}, newFolder(t)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := path(dir, service, account)
		if name != "folder" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		w, err := keyring.KeyIn(f.ring(), dir, service, account)
		refused(t, w, err, path+" belongs to the user with id 65534")
		f.wantSets(t, 0)
	}
}
