package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	maxRecord = 16 << 20 // a record that is larger was not written by this package

	tempPattern = ".tmp-*"
	tempAge     = time.Hour

	// Windows does not replace a file while somebody has it open. For a record that is
	// never long, but of many who read it one nearly always does, and what is not replaced
	// may be the only copy of a new token.
	inUseFor   = 5 * time.Second
	inUseDelay = 5 * time.Millisecond
)

// fileMedium is a File as a medium.
type fileMedium File

func (m *fileMedium) Where(key string) string { return (*File)(m).path(key) }

// Get needs no lock: a record is replaced by a rename, so it is read whole.
func (m *fileMedium) Get(ctx context.Context, key string) (b []byte, err error) {
	b, exposed, err := (*File)(m).read(ctx, key)
	if err == nil && exposed != nil {
		return nil, exposed
	}
	return b, err
}

// read is Get; exposed says how others can get at the record.
func (f *File) read(ctx context.Context, key string) (b []byte, exposed, err error) {
	err = retryInUse(ctx, func() error {
		b, exposed, err = readWhole(f.path(key), f.spareOf(key))
		return err
	})
	return b, exposed, err
}

func (m *fileMedium) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	f := (*File)(m)
	reserved := f.spareOf(key)
	check, temp := checkFile, reserved
	if exposes(new) {
		if err := checkDir(f.dir); err != nil {
			return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
		}
		check, temp = checkOwnFile, nil // the one that is open is for what follows
	}
	unlock, err := f.shortLock(ctx, key, check, reserved)
	if err != nil {
		return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
	}
	defer unlock()
	// That others can get at what is there is no reason to lose a new token, for which
	// the old one is spent. If they have changed it, it is not old.
	have, exposed, err := f.read(ctx, key)
	if err != nil {
		return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
	}
	if (have == nil) != (old == nil) || !bytes.Equal(have, old) {
		return false, nil
	}
	f.sweep()
	f.stampHold(key, new)
	path := f.path(key)
	if err := f.writeTemp(new, reserved, temp, func(temp string) error {
		return retryInUse(ctx, func() error { return os.Rename(temp, path) })
	}); err != nil {
		return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
	}
	if exposed != nil {
		f.expose(key, exposed)
	}
	err = syncDir(f.dir)
	if reserved != nil && outOfFiles(err) {
		err = reserved.syncDir()
	}
	if err != nil {
		return false, err // the write may not outlast a power cut
	}
	return true, nil
}

// exposes reports whether new, a record, is a claim or a login. For these, folder and lock have
// to be the user's own: a refresh token comes into the folder, or is about to be exchanged for
// one that does. What is written after an exchange, and a logout, is not refused for that: it
// would not be better kept elsewhere.
func exposes(new []byte) bool {
	r, err := protocol.DecodeRecord(new)
	return err == nil && (r.Lease != [16]byte{} || r.State == tokenclient.Active && r.Number == 1)
}

// KeepAside keeps what a login is about to replace.
func (m *fileMedium) KeepAside(ctx context.Context, key string, raw []byte) error {
	f := (*File)(m)
	path := f.path(key) + corruptSuffix + time.Now().UTC().Format("-20060102T150405.000000000Z")
	return f.writeTemp(raw, nil, nil, func(temp string) error {
		return retryInUse(ctx, func() error { return os.Rename(temp, path) })
	})
}

// writeTemp writes b to a new file in the folder and hands its name to place. The
// file is synced before that, so that what comes under its final name is whole
// even after a power cut. It is gone after any error. keep, which may be nil, gets the file
// that was placed; use, if there is one, provides for it where there are no descriptors.
func (f *File) writeTemp(b []byte, keep, use *spare, place func(temp string) error) (err error) {
	temp, err := f.createTemp()
	spared := false
	if use != nil && outOfFiles(err) {
		if t := use.takeTemp(); t != nil {
			temp, err, spared = t, nil, true
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		switch {
		case err == nil:
		case spared:
			use.putBack(temp)
		default:
			_ = temp.Close() // again, perhaps
			_ = os.Remove(temp.Name())
		}
	}()
	if _, err = temp.Write(b); err == nil {
		err = temp.Sync()
	}
	if keep == nil && err == nil {
		err = temp.Close()
	}
	if err == nil {
		err = place(temp.Name())
	}
	if keep != nil && err == nil {
		keep.keep(temp)
	}
	return err
}

func (f *File) createTemp() (*os.File, error) {
	temp, err := createPrivate(f.dir, tempPattern)
	if err != nil {
		return nil, err
	}
	if err := temp.Chmod(0o600); err != nil { // whatever the umask
		_ = temp.Close()
		_ = os.Remove(temp.Name())
		return nil, err
	}
	return temp, nil
}

// sweep removes temporary files of processes that were killed while writing. It
// leaves young ones, which belong to writers of other keys, and looks only as
// often as that makes a difference. What it cannot remove does no harm.
func (f *File) sweep() {
	f.mu.Lock()
	due := time.Since(f.swept) > tempAge
	if due {
		f.swept = time.Now()
	}
	f.mu.Unlock()
	if !due {
		return
	}
	entries, _ := os.ReadDir(f.dir)
	for _, entry := range entries {
		if ok, _ := filepath.Match(tempPattern, entry.Name()); !ok {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(f.dir, entry.Name()))
		}
	}
}

// readWhole returns what is in the file at path, nil if there is none. exposed says how
// others can get at it. use is for want of descriptors, and may be nil.
func readWhole(path string, use *spare) (b []byte, exposed, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// A folder that is gone, say because its disk is not mounted, has no
		// records, but it does not say that nobody logged in. Nor does what is in
		// its place and is refused when it is opened, and by a login.
		return nil, nil, checkDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, nil, err
	}
	if err := checkFile(path, info); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if use != nil && outOfFiles(err) {
		if b, ok := use.read(info); ok {
			return b, checkPrivate(path, info), nil
		}
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err = file.Stat() // of the file that is open: the name may have changed hands
	if err != nil {
		return nil, nil, err
	}
	if err := checkFile(path, info); err != nil {
		return nil, nil, err
	}
	b, err = io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > maxRecord {
		return nil, nil, protocol.Corruptf("more than %d bytes: delete the file if it is none of yours", maxRecord)
	}
	return b, checkPrivate(path, info), nil
}

// retryInUse tries again what failed only because another process has the file
// open.
func retryInUse(ctx context.Context, do func() error) error {
	for end := time.Now().Add(inUseFor); ; {
		err := ctx.Err()
		if err == nil {
			err = do()
		}
		if err == nil || !inUse(err) || time.Now().After(end) {
			return err
		}
		if ctxErr := protocol.Sleep(ctx, inUseDelay+rand.N(inUseDelay)); ctxErr != nil {
			return fmt.Errorf("%w (%w)", err, ctxErr)
		}
	}
}
