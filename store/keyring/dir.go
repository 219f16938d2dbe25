package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// makeDir makes dir, if it is missing, by the rules of store.NewFile.
func makeDir(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder (%v)", dir, info.Mode().Type())
	}
	// On Windows the access list of the folder decides.
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, which lets others at it: make it 0700 (chmod 700)", dir, mode)
	}
	return checkOwner(dir, info)
}

// checkFile refuses what is no file, and one of another user.
func checkFile(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file (%v)", path, info.Mode().Type())
	}
	return checkOwner(path, info)
}

// open opens a file, and neither follows a link nor waits for the other end of a pipe.
func open(path string, flags int) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil {
		if err := checkFile(path, info); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, flags|openFlags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat() // of what is open: the name may have changed hands
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// path returns a name that is of this item alone. Names of items may hold any
// characters.
func (it *item) path(suffix string) string {
	sum := sha256.Sum256([]byte(it.service + "\x00" + it.account))
	return filepath.Join(it.dir, "keyring-"+hex.EncodeToString(sum[:8])+suffix)
}

// lock waits for the lock under which the item is made. A fresh one is made for
// each call: two users of one flock.Flock would both get it. The file stays: if
// it were removed, one could lock the file that is gone while another locks a new
// one.
func (it *item) lock(ctx context.Context) (unlock func(), err error) {
	path := it.path(".lock")
	it.step.Store("lock " + path + "; another process, or an earlier call, is waiting for the keyring")
	if info, err := os.Lstat(path); err == nil {
		if err := checkFile(path, info); err != nil {
			return nil, err
		}
	}
	l := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDONLY|openFlags))
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	info, err := l.Stat() // of what is locked
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// idLen is the length of the id of a key.
const idLen = 16

// marker is the path of the file that says which key was made. It holds the id of
// the key in hexadecimal, and a line break.
func (it *item) marker() string { return it.path(".id") }

// marked returns the id in the marker, empty if there is none.
func (it *item) marked() (id string, err error) {
	f, err := open(it.marker(), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2*idLen)) // more than is in a good one
	if err != nil {
		return "", err
	}
	id = strings.TrimSuffix(string(b), "\n")
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != idLen/2 {
		return "", fmt.Errorf("%s does not hold the id of a key", it.marker())
	}
	return id, nil
}

// mark writes the marker. It appears as a whole and lasts: from then on tokens are
// sealed with the key. The caller has the lock.
func (it *item) mark(id string) error {
	// Under the lock this name is nobody else's. What a crash left is written over.
	temp := it.path(".id.new")
	f, err := open(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id + "\n")
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, it.marker())
	}
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // NTFS writes renames to its journal in order
	}
	d, err := os.Open(it.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems cannot do it, and have no better way.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
