package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/filewatch"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The files of a key are its SHA-256 in hexadecimal, with these suffixes: keys may
// hold any characters and be of any length, and say who uses the program.
const (
	shortSuffix   = ".lock"    // held while the record is compared and swapped
	longSuffix    = ".hold"    // held while a refresh token is exchanged
	corruptSuffix = ".corrupt" // what a login found and nobody could read
)

// A File keeps records in a folder on the local disk, one file for each key. It is
// shared by all processes of one machine that open the same folder: one of them at
// a time exchanges a refresh token, and the others get the result.
//
// Folder and files belong to the user, or to root, and to nobody else (0700 and 0600).
// What lets others in, and what is no file in the place of a record or a lock, such as a
// symbolic link or a named pipe, are refused with an error that is
// [tokenclient.ErrStoreUnavailable]: the record may be good, but it is for a person
// to find out who touched it. The folder is looked at with each login, before each
// exchange of a token, and where there is no record. If the mode of the record changes
// during the exchange, the new token is saved all the same, in a new file of mode 0600, and
// the next Refresh fails once to tell of it. A record is replaced as a whole, and synced to
// disk: after a crash it is the old one or the new one.
//
// While one process exchanges a token, it holds a lock that the kernel frees when
// the process ends. If it was killed, the next one waits until the request of the
// dead one is over, at most the timeout of that refresh and a second, or less by
// [FileOptions]; if it was stopped, the others wait as long as their contexts last.
//
// What it takes to save a token, four descriptors beside that of the lock, is opened before
// the old one is presented, so that a program which runs out of them loses none. On systems
// other than Linux, macOS and the BSDs only the lock is.
//
// The package documentation says what it takes: one machine, and a local disk.
type File struct {
	engine protocol.Engine
	dir    string // absolute, without symlinks
	folder *filewatch.Folder
	short  slots
	long   slots

	deadRequests time.Duration // see FileOptions

	mu      sync.Mutex        // guards what follows
	swept   time.Time         // when left-over temporary files were last looked for
	exposed map[string]error  // by key: how others could get at a record that was replaced
	spares  map[string]*spare // by key, of tokens that are being exchanged
}

var _ tokenclient.Store = (*File)(nil)

// NewFile returns a File that keeps its records in the folder dir, sealed by s. It
// makes dir if it is missing, with mode 0700, as its parents. It refuses a dir that
// is a symbolic link or no folder, and one that others than its owner can get at; that and
// all failures of the file system are [tokenclient.ErrStoreUnavailable]. It also refuses a
// Sealer that is nil, zero or made of bad keys.
//
// On Windows what counts is the access list in place of the mode: the folders that NewFile
// makes are for the user, SYSTEM and Administrators, inherit nothing, and what is in them is
// for the same; a list that lets anybody else read or change what is there is refused.
//
// In a folder that cannot be written, what is there can be read; all else fails
// with an error that is ErrStoreUnavailable.
func NewFile(dir string, s *Sealer) (*File, error) { return NewFileWithOptions(dir, s, nil) }

// FileOptions change what [NewFile] does by default. A nil *FileOptions is like a zero one.
type FileOptions struct {
	// DeadRequestsEndWithin is a promise about the token endpoint. When a process is killed
	// in the middle of a refresh, the kernel closes its connection. This long after that, at
	// the latest, the request that it had sent can do no harm any more, because
	//
	//   - the endpoint, with all proxies before it, is done with the request by then, or has
	//     noticed that the connection is closed and does not exchange the token; or
	//   - the endpoint accepts a refresh token that was exchanged for a while (a grace
	//     period), and that is longer than it may be at work on a request; and a later answer
	//     leaves the token of an earlier one as good as it was.
	//
	// Then the next process waits no longer than that, instead of RefreshTimeout and a
	// second. 0, the default, promises nothing; otherwise it is at least a millisecond, and
	// what is longer than that wait changes nothing. For a grace period that is shorter than
	// RefreshTimeout it is what saves the session: the next process comes within it.
	//
	// The risk: if the promise is broken, the request of the dead process may come after
	// that of the next one. A server that detects reuse then ends the session, and there has
	// to be a new login. So do not promise it of a server that is not yours to know. A
	// Refresher that has another program make the request, which lives on, breaks it. So does
	// a network that fails at that moment: the endpoint does not hear that the connection is
	// closed, and what had been written before the kill, which the kernel sends to the end,
	// may come later.
	//
	// It holds for claims of processes that promise it too, that ran on the same kernel since
	// it was started, and that are certainly dead. A holder that is slow or stopped is waited
	// for as ever, and so is a call that was given up, though its process lives: its lock
	// stays until its request is over. After a restart of the machine, and on systems other
	// than Linux, the wait is the whole one. It does not close the gap between the exchange
	// at the server and the save; see the package documentation.
	DeadRequestsEndWithin time.Duration
}

// NewFileWithOptions is [NewFile] with options; o may be nil. It also refuses a
// DeadRequestsEndWithin that is negative or, for want of a unit, less than a millisecond.
func NewFileWithOptions(dir string, s *Sealer, o *FileOptions) (*File, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	f := &File{}
	if o != nil {
		f.deadRequests = o.DeadRequestsEndWithin
	}
	if d := f.deadRequests; d != 0 && d < time.Millisecond {
		return nil, fmt.Errorf("store: NewFile: FileOptions.DeadRequestsEndWithin is %v, not 0 or at least %v", d, time.Millisecond)
	}
	if _, ok := sinceStart(); !ok {
		f.deadRequests = 0 // no wait is shorter without stamps, so nobody has to keep a lock for that
	}
	dir, err := makeDir(dir)
	if err != nil {
		return nil, protocol.Unavailable(fmt.Errorf("store: NewFile: %w", err))
	}
	f.dir, f.folder = dir, filewatch.New(dir)
	f.engine.Medium = (*fileMedium)(f)
	f.engine.Sealer = sealing{s}
	f.engine.NewTurn = func(key string) protocol.Turn {
		return &fileTurn{slotTurn: slotTurn{slots: &f.long, key: key}, file: f}
	}
	return f, nil
}

// makeDir returns dir in a form that means the same folder for ever: another
// working directory or another link on the way must not turn a session into an
// absent one.
func makeDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("the name of the folder is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := makeLastingFolders(dir); err != nil {
			return "", err
		}
	}
	if err := checkDir(dir); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// Format writes the folder, whatever the verb.
func (f *File) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "store.File(%q)", f.dir) }

// Load returns the record of key; see [tokenclient.Store].
func (f *File) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	return f.engine.Load(ctx, key)
}

// Replace stores a login, or a logout if t is nil; see [tokenclient.Store]. The
// bytes of a record that a login replaces, though its header was corrupt or of a newer
// format, are kept in the folder, in a file whose name ends in ".corrupt-" and the time. A record of
// more than 16 MiB is not replaced either: it was not written by this package.
func (f *File) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	return f.engine.Replace(ctx, key, t)
}

// Refresh calls fn to exchange the token that follows seen, unless a newer one is
// stored; see [tokenclient.Store]. With the context of fn, Refresh of the same key
// is [tokenclient.ErrReentrant], while Load and Replace, which wait for nobody, are
// answered. After a [tokenclient.NotSavedError] other processes go on waiting until
// its token is saved or this process ends.
func (f *File) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	if err := f.wasExposed(key); err != nil {
		return tokenclient.Record{}, protocol.Unavailable(fmt.Errorf("store: refresh %s: %w", protocol.Place(key, f.path(key)), err))
	}
	return f.engine.Refresh(ctx, key, seen, timeout, fn)
}

// Save stores t as the token that follows seen, without waiting for a refresh in
// progress; see [tokenclient.Store].
func (f *File) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	return f.engine.Save(ctx, key, seen, t)
}

func (f *File) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(f.dir, hex.EncodeToString(sum[:]))
}
