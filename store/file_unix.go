//go:build unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// noWait keeps an open from waiting for the other end of a named pipe; openFlags keep it
// from following a symlink, too.
const (
	noWait    = syscall.O_NONBLOCK
	openFlags = syscall.O_NOFOLLOW | noWait
)

// checkOwner refuses what belongs to somebody else: who owns a file can change it, and its
// mode, whatever that is now. What root owns is as good as the user's own.
func checkOwner(path string, info fs.FileInfo) error { return checkOwnerFor(os.Geteuid(), path, info) }

func checkOwnerFor(uid int, path string, info fs.FileInfo) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(s.Uid) == uid || s.Uid == 0 {
		return nil
	}
	return fmt.Errorf("%s belongs to the user with id %d, and the program runs as %d: "+
		"run it as that user, or make the file the program's own (chown %[3]d)", path, s.Uid, uid)
}

// checkMode refuses what not only its owner can get at.
func checkMode(path string, info fs.FileInfo) error {
	want := fs.FileMode(0o600)
	if info.IsDir() {
		want = 0o700
	}
	if have := info.Mode().Perm(); have&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, which lets others at it: make it %04o (chmod %03[3]o)", path, have, want)
	}
	return nil
}

// makeFolders makes dir and its parents where they are missing, for nobody else.
func makeFolders(dir string) error { return os.MkdirAll(dir, 0o700) }

// createPrivate is os.CreateTemp, whose files have mode 0600.
func createPrivate(dir, pattern string) (*os.File, error) { return os.CreateTemp(dir, pattern) }

// inUse is for systems where a file that somebody reads cannot be replaced.
func inUse(error) bool { return false }

// syncDir makes a rename in dir last. File systems that cannot do that have no
// better way.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncOpenDir(d)
}

func syncOpenDir(d *os.File) error {
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
