package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// slots is a lock for each key within one process. It is waited for with a
// context. The zero value is ready.
type slots struct {
	mu sync.Mutex // guards m and the users in it; never held while waiting
	m  map[string]*slot
}

type slot struct {
	taken chan struct{} // holds one element while the slot is taken
	users int           // who has it or waits for it
}

// acquire takes the slot of key. It is false if another has it for longer than d.
func (s *slots) acquire(ctx context.Context, key string, d time.Duration) (bool, error) {
	s.mu.Lock()
	if s.m == nil {
		s.m = make(map[string]*slot)
	}
	c := s.m[key]
	if c == nil {
		c = &slot{taken: make(chan struct{}, 1)}
		s.m[key] = c
	}
	c.users++
	s.mu.Unlock()

	select {
	case c.taken <- struct{}{}:
		return true, nil
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	var err error
	select {
	case c.taken <- struct{}{}:
		return true, nil
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.leave(key, c)
	return false, err
}

func (s *slots) release(key string) {
	s.mu.Lock()
	c := s.m[key]
	s.mu.Unlock()
	<-c.taken
	s.leave(key, c)
}

func (s *slots) leave(key string, c *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users--; c.users == 0 {
		delete(s.m, key)
	}
}

// A slotTurn is the turn of a store within one process.
type slotTurn struct {
	slots *slots
	key   string
	poll  protocol.Backoff
	held  bool
}

func (t *slotTurn) Ready(ctx context.Context, _ *protocol.Record) (bool, error) {
	if t.held {
		return true, ctx.Err()
	}
	var err error
	t.held, err = t.slots.acquire(ctx, t.key, t.poll.Next())
	return false, err // the record may have changed before the slot was ours
}

func (t *slotTurn) End(time.Duration) {
	if t.held {
		t.held = false
		t.slots.release(t.key)
	}
}

// A fileLock is a lock among processes that the kernel frees when its holder dies.
// A fresh one is made for each acquisition: two users of one flock.Flock would
// both get the lock. The file stays when the lock is freed: if it were deleted,
// one could lock the file that is gone while another locks a new one.
type fileLock struct{ unlock func() }

// tryLock is nil if another holds the lock. check says whether the lock file will do. It is
// asked about what path names, and again about the file that was locked, which is opened in
// a way that follows no link and waits for nobody at the other end of a pipe.
func tryLock(path string, check func(path string, info fs.FileInfo) error) (*fileLock, error) {
	if info, err := os.Lstat(path); err == nil {
		if err := check(path, info); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	f := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(lockFlags()))
	ok, err := f.TryLock()
	if pathErr := (*fs.PathError)(nil); err != nil && !errors.As(err, &pathErr) {
		err = &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	if err != nil || !ok {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(path, info)
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, fs.ErrNotExist) { // that of a key, which its holder removes
			err = nil
		}
		return nil, err
	}
	return &fileLock{func() { _ = f.Close() }}, nil
}

// lockFlags are those with which a lock file is opened.
func lockFlags() int {
	switch runtime.GOOS {
	case "aix", "illumos", "solaris": // where what is locked must be open for writing
		return os.O_CREATE | os.O_RDWR | openFlags
	}
	return os.O_CREATE | os.O_RDONLY | openFlags
}

// awaitLock calls try, for the lock at path, until that has it or fails, as long as ctx lasts.
func awaitLock(ctx context.Context, path string, try func() (*fileLock, error)) (*fileLock, error) {
	for poll := new(protocol.Backoff); ; {
		l, err := try()
		if l != nil || err != nil {
			return l, err
		}
		if err := protocol.Sleep(ctx, poll.Next()); err != nil {
			return nil, fmt.Errorf("lock %s: held by another process: %w", path, err)
		}
	}
}

// shortLock takes the lock under which the record of key is compared and swapped.
// It is held for nothing but that. use is for want of descriptors, and may be nil.
func (f *File) shortLock(ctx context.Context, key string, check func(path string, info fs.FileInfo) error, use *spare) (unlock func(), err error) {
	for {
		if ok, err := f.short.acquire(ctx, key, time.Minute); err != nil {
			return nil, err
		} else if ok {
			break
		}
	}
	path := f.path(key) + shortSuffix
	l, err := awaitLock(ctx, path, func() (*fileLock, error) {
		l, err := tryLock(path, check)
		if use != nil && outOfFiles(err) {
			return use.tryLock()
		}
		return l, err
	})
	if err != nil {
		f.short.release(key)
		return nil, err
	}
	return func() {
		l.unlock()
		f.short.release(key)
	}, nil
}
