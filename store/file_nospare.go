//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package store

import (
	"errors"
	"io/fs"
	"os"
)

// A spare is not there, on these systems: Windows has room for millions of open files, and
// does not replace one that is open.
type spare struct{}

func (f *File) reserve(string) error           { return nil }
func (f *File) unreserve(string)               {}
func (f *File) spareOf(string) *spare          { return nil }
func outOfFiles(error) bool                    { return false }
func (*spare) tryLock() (*fileLock, error)     { return nil, errors.ErrUnsupported }
func (*spare) read(fs.FileInfo) ([]byte, bool) { return nil, false }
func (*spare) takeTemp() *os.File              { return nil }
func (*spare) putBack(*os.File)                {}
func (*spare) syncDir() error                  { return errors.ErrUnsupported }
func (*spare) keep(*os.File)                   {}
