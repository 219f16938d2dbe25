//go:build unix

package keyring

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// checkOwner refuses what belongs to neither this user nor root: who owns a file can change
// it, and its mode.
func checkOwner(path string, info fs.FileInfo) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && int(s.Uid) != uid && s.Uid != 0 {
		return fmt.Errorf("%s belongs to the user with id %d, and the program runs as %d: "+
			"run it as that user, or make the file the program's own (chown %[3]d)", path, s.Uid, uid)
	}
	return nil
}
