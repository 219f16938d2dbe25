package replay

import (
	"io"
	"os"
)

// A spool is the file that has what was read of a body when that is too much to keep in
// memory. Others on the machine cannot read it, and it is gone when it is closed: where
// the system allows that, its name is removed before anything is in it, so that nothing
// of it remains even if the process is killed.
//
// One goroutine writes at the end while another reads what is before it. size belongs to the
// source, which has a lock.
type spool struct {
	file *os.File
	name string // "": it is removed already
	size int64  // what may be read
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "request-body-*") // 0600
	if err != nil {
		return nil, err
	}
	s := &spool{file: f}
	if err := os.Remove(f.Name()); err != nil {
		s.name = f.Name()
	}
	return s, nil
}

// write writes the pieces behind each other at the end of what was written before, which
// is size.
func (s *spool) write(size int64, pieces ...[]byte) error {
	for _, p := range pieces {
		n, err := s.file.WriteAt(p, size)
		if err != nil {
			return err
		}
		size += int64(n)
	}
	return nil
}

// after is how much there is after the first n bytes. s may be nil.
func (s *spool) after(n int64) int64 {
	if s == nil {
		return 0
	}
	return s.size - n
}

// Close removes the file.
func (s *spool) Close() error {
	_ = s.file.Close()
	if s.name != "" {
		return os.Remove(s.name)
	}
	return nil
}

var _ io.Closer = (*spool)(nil)
