package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeLastingFolders makes the folders that are missing, down to dir, and makes them last: a
// key or a token that is gone after a power cut costs the session.
func makeLastingFolders(dir string) error {
	var parents []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := makeFolders(dir); err != nil {
		return err
	}
	for _, p := range parents {
		// A parent that may be written and not read cannot be synced.
		if err := syncDir(p); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// checkDir refuses a folder that others can get at: they could put an older record, or a
// lock of their own, in the place of ours.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return notA("folder", dir, info)
	}
	return checkPrivate(dir, info)
}

func checkPrivate(path string, info fs.FileInfo) error {
	if err := checkOwner(path, info); err != nil {
		return err
	}
	return checkMode(path, info)
}

func checkFile(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return notA("file", path, info)
	}
	return nil
}

// checkOwnFile refuses a lock that others have made, and can hold for ever.
func checkOwnFile(path string, info fs.FileInfo) error {
	if err := checkFile(path, info); err != nil {
		return err
	}
	return checkOwner(path, info)
}

func notA(want, path string, info fs.FileInfo) error {
	is := "something else"
	switch m := info.Mode(); {
	case m&fs.ModeSymlink != 0:
		is = "a symbolic link"
	case m.IsDir():
		is = "a folder"
	case m.IsRegular():
		is = "a file"
	}
	return fmt.Errorf("%s is %s, not a %s", path, is, want)
}

// expose notes that others could get at a record of key that was replaced since.
func (f *File) expose(key string, how error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.exposed == nil {
		f.exposed = make(map[string]error)
	}
	f.exposed[key] = how
}

// wasExposed tells what expose noted, once.
func (f *File) wasExposed(key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	how := f.exposed[key]
	if how == nil {
		return nil
	}
	delete(f.exposed, key)
	return fmt.Errorf("the last token was saved, in a new file of mode 0600, over one that others could get at and may have read (%w): "+
		"find out who did that, and log in again unless you trust them", how)
}
