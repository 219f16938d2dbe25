package store

import (
	"errors"
	"io/fs"
	"syscall"
)

const (
	noWait    = 0
	openFlags = 0
)

// inUse tells the errors of opening or replacing a file while another process
// replaces or reads it.
func inUse(err error) bool {
	const sharingViolation, lockViolation = syscall.Errno(32), syscall.Errno(33)
	return errors.Is(err, sharingViolation) || errors.Is(err, lockViolation) ||
		errors.Is(err, syscall.ERROR_ACCESS_DENIED)
}

// syncDir has nothing to do: NTFS writes renames to its journal in order.
func syncDir(string) error { return nil }

func checkOwner(path string, _ fs.FileInfo) error { return checkAccess(path, ownerOf) }

func checkMode(path string, _ fs.FileInfo) error { return checkAccess(path, othersOf) }
