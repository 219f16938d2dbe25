package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// axe-core judges whether a page can be used by people who do not see it, or not well. It is
// got from the npm registry, by npm, which knows which registry that is here.
const (
	axePackage = "axe-core@4.14.1"
	axeArchive = "axe-core-4.14.1.tgz"
	axeScript  = "package/axe.min.js"
	axeSum     = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745" // SHA-256 of the archive
	axeTimeout = 2 * time.Minute
)

// axeCore returns the script. It is kept in the user's cache. Without npm or its registry the test
// is skipped.
func axeCore(t *testing.T) string {
	t.Helper()
	archive, err := cachedAxe(t)
	if err != nil {
		t.Skipf("browser: %s is not to be had: install the Debian package npm, and have it reach its registry: %v", axePackage, err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		h, err := files.Next()
		if err != nil {
			t.Fatalf("%s has no %s: %v", axeArchive, axeScript, err)
		}
		if h.Name != axeScript {
			continue
		}
		script, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		return string(script)
	}
}

// cachedAxe returns the archive.
func cachedAxe(t *testing.T) ([]byte, error) {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = t.TempDir()
	}
	dir = filepath.Join(dir, "silentrefresh-tests")
	kept := filepath.Join(dir, axeArchive)
	if b, err := os.ReadFile(kept); err == nil && sumOf(b) == axeSum {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, "npm-") // another test process may do the same
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	ctx, cancel := context.WithTimeout(t.Context(), axeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "pack", axePackage, "--ignore-scripts", "--pack-destination", work)
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(out)))
	}
	b, err := os.ReadFile(filepath.Join(work, axeArchive))
	if err != nil {
		return nil, err
	}
	if sum := sumOf(b); sum != axeSum {
		t.Fatalf("%s has the SHA-256 %s, want %s", axeArchive, sum, axeSum)
	}
	return b, os.Rename(filepath.Join(work, axeArchive), kept)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
