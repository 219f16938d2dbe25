//go:build unix

package storetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// mapKV is an engine in memory.
type mapKV struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *mapKV) Get(ctx context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.values[key]), ctx.Err()
}

func (m *mapKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.values[key]
	if ctx.Err() != nil || (have == nil) != (old == nil) || !bytes.Equal(have, old) {
		return false, ctx.Err()
	}
	m.values[key] = bytes.Clone(new)
	return true, nil
}

// folderKV is an engine for several processes: a file for each key, and a lock.
type folderKV struct{ path string }

func (f folderKV) locked(ctx context.Context, do func() error) error {
	lock, err := os.OpenFile(filepath.Join(f.path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return do()
}

func (f folderKV) read(key string) ([]byte, error) {
	value, err := os.ReadFile(filepath.Join(f.path, key))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return value, err
}

func (f folderKV) Get(ctx context.Context, key string) (value []byte, err error) {
	err = f.locked(ctx, func() error {
		value, err = f.read(key)
		return err
	})
	return value, err
}

func (f folderKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	err = f.locked(ctx, func() error {
		have, err := f.read(key)
		if err != nil || (have == nil) != (old == nil) || !bytes.Equal(have, old) {
			return err
		}
		temp := filepath.Join(f.path, "new")
		if err := errors.Join(os.WriteFile(temp, new, 0o600), os.Rename(temp, filepath.Join(f.path, key))); err != nil {
			return err
		}
		swapped = true
		return nil
	})
	return swapped, err
}

func TestKVInMemory(t *testing.T) {
	var m *mapKV
	RunKV(t, func(testing.TB, string) store.KV { return m }, func(*testing.T) string {
		m = &mapKV{values: make(map[string][]byte)}
		return ""
	})
}

func TestKVInFolder(t *testing.T) {
	RunKV(t, func(_ testing.TB, address string) store.KV { return folderKV{address} }, func(t *testing.T) string { return t.TempDir() })
}
