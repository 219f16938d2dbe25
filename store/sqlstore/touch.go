package sqlstore

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/filewatch"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// A toucher is a table of SQLite whose swaps are told to who waits for them. SQLite tells
// nobody that another process has written. What it writes itself says nothing either: the log
// grows before a transaction is seen by others, and for every table. So a swap sets the
// times of the file to now, once it is done, of which the kernel tells.
type toucher struct {
	*table

	mu     sync.Mutex        // guards folder
	folder *filewatch.Folder // nil: nobody has waited yet
}

var _ store.Notifier = (*toucher)(nil)

func (t *toucher) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	swapped, err := t.table.CompareAndSwap(ctx, key, old, new)
	if file := t.sqlite.path(); swapped && file != "" {
		_ = filewatch.Touch(file) // or who waits looks
	}
	return swapped, err
}

// Watch has the kernel tell of the file, whatever the key: of what is waited for, few others
// are swapped at that moment.
func (t *toucher) Watch(_ string, changed func()) (hears func() bool, stop func()) {
	file := t.sqlite.path()
	if file == "" {
		return nil, nil
	}
	t.mu.Lock()
	if t.folder == nil {
		t.folder = filewatch.New(filepath.Dir(file))
	}
	folder := t.folder
	t.mu.Unlock()
	stop, err := folder.Watch(filepath.Base(file), changed)
	if err != nil {
		return nil, nil
	}
	changed() // it may have before
	return folder.Hears, stop
}
