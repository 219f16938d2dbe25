//go:build unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFlags keep an open from following a symlink, and from waiting for the other
// end of a named pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

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
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
