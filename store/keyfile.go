package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// KeyFile returns a [KeyWrapper] for the key in the file path, which must exist;
// [LoadOrCreateKeyFile] makes one. The file holds 32 raw bytes, 64 hexadecimal
// digits, or 32 bytes in base64 (standard or URL alphabet, padded or not). The
// text forms may end in a line break. Anything else is an error.
//
// On Unix a file that its group or others can read or write is refused, and one that
// belongs to neither the user nor root. The path may be a symbolic link, as mounted secrets
// are; what counts is the file it leads to. On Windows its access list counts, as that of a
// folder does for [NewFile].
//
// The file is read once. An absent file is an error that is [fs.ErrNotExist]. The
// key's id is made from the key, so that the same key elsewhere is recognised, and
// another key as another.
func KeyFile(path string) (KeyWrapper, error) {
	w, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("store: KeyFile: %w", err)
	}
	return w, nil
}

// LoadOrCreateKeyFile is [KeyFile] for a program's first run: if there is no file,
// it makes one of mode 0600 with a new random key in hexadecimal, and the folders
// above it, of mode 0700, where they are missing. Processes that do so at the same
// time all get the same key, and a crash leaves either no file or a whole one.
//
// The file is part of the session: without it the tokens cannot be read, and a
// file made anew does not help: what is stored is ErrStoreUnavailable then, until a login
// (tokenclient.Session.SetToken) replaces it. Whoever has both can read the tokens: leave it out of
// the backups that hold them, which is easier if it is not in their folder.
func LoadOrCreateKeyFile(path string) (KeyWrapper, error) {
	w, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createKeyFile(path, placeKeyFile); err == nil {
			w, err = readKeyFile(path) // another process may have been faster
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store: LoadOrCreateKeyFile: %w", err)
	}
	return w, nil
}

// maxKeyFile is more than the longest form, so that a file that is too long is
// noticed without reading it all.
const maxKeyFile = 128

func readKeyFile(path string) (w *aesWrapper, err error) {
	err = retryInUse(context.Background(), func() error {
		w, err = readKeyFileOnce(path)
		return err
	})
	return w, err
}

func readKeyFileOnce(path string) (*aesWrapper, error) {
	// Before opening, which has effects on some devices.
	if err := checkKeyFile(path, os.Stat); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Again: this is the file that is read, whatever path was a moment ago.
	if err := checkKeyFile(path, func(string) (fs.FileInfo, error) { return f.Stat() }); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	defer clear(b)
	if err != nil {
		return nil, err
	}
	key, ok := b, len(b) == keyLen // raw bytes are never trimmed: they may end like a line
	if !ok {
		key, ok = parseKey(string(b))
		defer clear(key)
	}
	switch {
	case ok:
	case len(b) == 0:
		return nil, fmt.Errorf("key file %s is empty", path)
	case len(b) == maxKeyFile:
		return nil, fmt.Errorf("key file %s is too long to hold a key", path)
	default:
		return nil, fmt.Errorf("key file %s holds %d bytes that are no key: want 32 raw bytes, 64 hexadecimal digits or 32 bytes in base64", path, len(b))
	}
	return newAESWrapper(key)
}

func checkKeyFile(path string, stat func(string) (fs.FileInfo, error)) error {
	info, err := stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("key file %s is not a regular file (%v)", path, info.Mode().Type())
	}
	return checkPrivate(path, info)
}

// createKeyFile makes a key file, unless there is one when it is done. The key is
// complete and synced under another name before it appears at path, so that nobody
// ever finds half of it. place is placeKeyFile, or a test's.
func createKeyFile(path string, place func(temp, path string) error) (err error) {
	dir := filepath.Dir(path)
	if err := makeLastingFolders(dir); err != nil {
		return err
	}
	temp, err := createPrivate(dir, ".tmp-key-*") // a key that nobody used, if a crash leaves it
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // unless it has its new name
	var raw [keyLen]byte
	rand.Read(raw[:]) // never fails
	text := append(hex.AppendEncode(nil, raw[:]), '\n')
	clear(raw[:])
	_, err = temp.Write(text)
	clear(text)
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := place(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The loser syncs too: it will use the winner's key before the winner is here.
	return syncDir(dir)
}

// placeKeyFile gives temp the name path. It returns fs.ErrExist if path exists: the first
// process wins.
//
// A link would fail by itself then, and a crash before the first name is removed would
// leave a second one of the key in use, where nobody looks for a key. Creating path
// with O_EXCL and then writing to it would leave an empty file after a crash. So a lock
// makes "look, then rename" one step.
func placeKeyFile(temp, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	lock, err := awaitLock(ctx, path+".lock", func() (l *fileLock, err error) {
		err = retryInUse(ctx, func() error { // another process is about to remove it
			l, err = tryLock(path+".lock", checkOwnFile)
			return err
		})
		return l, err
	})
	if err != nil {
		return err
	}
	_, err = os.Lstat(path)
	switch {
	case err == nil:
		err = fs.ErrExist
	case errors.Is(err, fs.ErrNotExist):
		err = os.Rename(temp, path)
	}
	lock.unlock()
	if err == nil || errors.Is(err, fs.ErrExist) {
		// Whoever gets the lock from now on, be it of this file or of a new one, finds
		// the key there.
		_ = os.Remove(path + ".lock")
	}
	return err
}
