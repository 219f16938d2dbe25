//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// A spare is all that a save has to open. It is opened before the refresh token is
// presented: a program that runs out of descriptors while the token is exchanged, as a server
// under load may, could not store the new one, and what is stored is spent. It takes the place
// of what cannot be opened, and of nothing else.
//
// These are the systems where a lock belongs to an open file. Where it belongs to the
// process, to close any other file of that name would free it.
type spare struct {
	lock *os.File // the short lock, which is taken for want of descriptors alone
	dir  *os.File

	mu     sync.Mutex // guards what follows
	locked bool       // lock is taken, and closed when it is freed
	temp   *os.File   // empty; nil once it was used
	record *os.File   // the record as it was written last; nil if it was not since
	closed bool       // what others still bring is closed, too
}

// outOfFiles tells the errors of a process, or a machine, that has too many files open.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// reserve opens the spare of key, whose long lock the caller has, unless it is open. It fails
// only for want of descriptors: whatever else is wrong will be told by the claim.
func (f *File) reserve(key string) error {
	if f.spareOf(key) != nil {
		return nil
	}
	s, err := f.newSpare(key)
	if err != nil {
		if outOfFiles(err) {
			return err
		}
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spares == nil {
		f.spares = make(map[string]*spare)
	}
	f.spares[key] = s
	return nil
}

func (f *File) newSpare(key string) (s *spare, err error) {
	s = &spare{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	path := f.path(key) + shortSuffix
	if s.lock, err = os.OpenFile(path, lockFlags(), 0o600); err != nil {
		return s, err
	}
	info, err := s.lock.Stat()
	if err == nil {
		err = checkOwnFile(path, info)
	}
	if err != nil {
		return s, err
	}
	if s.dir, err = os.Open(f.dir); err != nil {
		return s, err
	}
	s.temp, err = f.createTemp()
	return s, err
}

// unreserve closes the spare of key.
func (f *File) unreserve(key string) {
	f.mu.Lock()
	s := f.spares[key]
	delete(f.spares, key)
	f.mu.Unlock()
	if s != nil {
		s.close()
	}
}

func (f *File) spareOf(key string) *spare {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spares[key]
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temp != nil {
		_ = os.Remove(s.temp.Name())
	}
	for _, file := range []*os.File{s.dir, s.temp, s.record} {
		_ = file.Close() // of a nil one, too
	}
	if !s.locked {
		_ = s.lock.Close()
	}
	s.temp, s.record, s.closed = nil, nil, true
}

// tryLock takes the short lock. It is nil if another has it, or if s was closed: then there are
// descriptors again. A login or logout may have the lock when the exchange ends that s is for.
// To close it would free it, and another process could write between its look and its write.
func (s *spare) tryLock() (*fileLock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, nil
	case err != nil:
		return nil, &fs.PathError{Op: "lock", Path: s.lock.Name(), Err: err}
	}
	s.locked = true
	return &fileLock{s.unlock}, nil
}

func (s *spare) unlock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locked = false
	if s.closed {
		_ = s.lock.Close()
		return
	}
	_ = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN)
}

// read returns what is in the record, which info describes. ok is false if it is not the
// file that is open.
func (s *spare) read(info fs.FileInfo) (b []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record == nil {
		return nil, false
	}
	if have, err := s.record.Stat(); err != nil || !os.SameFile(have, info) {
		return nil, false
	}
	b, err := io.ReadAll(io.NewSectionReader(s.record, 0, maxRecord+1))
	return b, err == nil && len(b) <= maxRecord
}

// takeTemp returns the temporary file, which the caller owns then; nil if it was taken.
func (s *spare) takeTemp() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	temp := s.temp
	s.temp = nil
	return temp
}

// putBack returns what takeTemp returned and could not be used.
func (s *spare) putBack(temp *os.File) {
	err := temp.Truncate(0)
	if err == nil {
		_, err = temp.Seek(0, io.SeekStart)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.temp != nil || s.closed {
		_ = os.Remove(temp.Name())
		_ = temp.Close()
		return
	}
	s.temp = temp
}

func (s *spare) syncDir() error { return syncOpenDir(s.dir) }

// keep takes over file, which is the record now.
func (s *spare) keep(file *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = file.Close()
		return
	}
	_ = s.record.Close()
	s.record = file
}
