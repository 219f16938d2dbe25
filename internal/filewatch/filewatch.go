// Package filewatch tells who waits for a file of another process that the file has changed:
// on Linux, by inotify. Elsewhere, and where the kernel gives no more of it, [Folder.Watch]
// fails, and whoever waits looks from time to time. That has to be done anyway: nobody is told of
// what another machine does to a file that both share.
//
// While somebody watches, a goroutine waits for the kernel. In a bubble of testing/synctest no
// time would pass meanwhile, so nothing is watched there.
package filewatch

import (
	"errors"
	"os"
	"sync"
	"time"
)

// A Folder tells of changes of the files in it. While nobody watches it takes no descriptor and
// has no goroutine. Its methods may be called by several goroutines at a time. It must not be
// copied.
type Folder struct {
	dir string

	mu       sync.Mutex // guards what follows
	events   *os.File   // of the kernel; nil: nobody watches
	watchers map[*watcher]struct{}
}

type watcher struct {
	name    string
	changed func()
}

// New returns a Folder for dir. It need not be there yet.
func New(dir string) *Folder { return &Folder{dir: dir} }

// Watch has changed called soon after another file was renamed to name, which has no slash, or
// its times or mode were changed, until stop is called; and once more then, perhaps. Changes may
// go by without a call, and there may be calls without a change. changed must not wait.
func (f *Folder) Watch(name string, changed func()) (stop func(), err error) {
	if inBubble() {
		return nil, errors.New("filewatch: the time of a bubble of testing/synctest would stand still")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.events == nil {
		events, err := open(f.dir)
		if err != nil {
			return nil, err
		}
		f.events = events
		go f.listen(events) // until lost or the last stop closes it
	}
	w := &watcher{name, changed}
	if f.watchers == nil {
		f.watchers = make(map[*watcher]struct{})
	}
	f.watchers[w] = struct{}{}
	return func() { f.remove(w) }, nil
}

func (f *Folder) remove(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
	if len(f.watchers) == 0 && f.events != nil {
		_ = f.events.Close()
		f.events = nil
	}
}

// Hears reports whether changes are told of at this moment.
func (f *Folder) Hears() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events != nil
}

// call tells those who watch name; "": everybody.
func (f *Folder) call(name string) {
	f.mu.Lock()
	var told []*watcher
	for w := range f.watchers {
		if name == "" || w.name == name {
			told = append(told, w)
		}
	}
	f.mu.Unlock()
	for _, w := range told {
		w.changed()
	}
}

// listen reads events until they end: with the last stop, or because the folder is gone. Then
// who watches is told so, and looks; the next Watch begins anew, for all.
func (f *Folder) listen(events *os.File) {
	for name := range read(events) {
		f.call(name)
	}
	f.mu.Lock()
	if f.events == events {
		f.events = nil
	}
	f.mu.Unlock()
	_ = events.Close()
	f.call("")
}

// inBubble reports whether the time is that of a bubble of testing/synctest, which begins with
// the year 2000. A machine whose clock says so is not watched either, and does without.
func inBubble() bool { return time.Now().Year() < 2020 }
