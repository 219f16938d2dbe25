//go:build unix

package processes_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// nobody is who agents become where root would be allowed too much.
const nobody = 65534

// handOver gives the folder and what is in it to the user that agents run as from
// now on. If the test is not root, that is its own.
func (w *world) handOver(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	w.Base.UID = nobody
	names, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, w.dir) {
		if err := os.Lchown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	// t.TempDir has made two folders for this test.
	for dir, i := filepath.Dir(w.dir), 0; i < 2; dir, i = filepath.Dir(dir), i+1 {
		chmod(t, dir, 0o711)
	}
}

func chmod(t testing.TB, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// saveFault makes saves of an agent fail, and mends that.
type saveFault struct {
	name       string
	make, mend func(t *testing.T, w *world, p *processes.Process)
}

var saveFaults = []saveFault{
	{
		"disk full",
		func(t *testing.T, _ *world, p *processes.Process) {
			p.Do(t, processes.Order{Do: "limit", Limit: 0}).Want(t, "limit")
		},
		func(t *testing.T, _ *world, p *processes.Process) {
			p.Do(t, processes.Order{Do: "limit", Limit: -1}).Want(t, "limit")
		},
	},
	{
		"folder read-only",
		func(t *testing.T, w *world, _ *processes.Process) { chmod(t, w.dir, 0o500) },
		func(t *testing.T, w *world, _ *processes.Process) { chmod(t, w.dir, 0o700) },
	},
}

// unsaved brings a world to where a process has a token that is not stored: the
// store breaks between the claim and the save.
func unsaved(t *testing.T, f saveFault) (*world, *processes.Process) {
	t.Helper()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	w.handOver(t)
	held := w.Gate.HoldNext(processes.AfterServer)
	p := w.Start(t, nil)
	get := p.Order(t, processes.Order{Do: "get"})
	held.WaitReached(t)
	f.make(t, w, p)
	t.Cleanup(func() { _ = os.Chmod(w.dir, 0o700) }) // so that it can be removed
	held.Release()
	get.Wait(t).WantServed(t, "the request that waited for the refresh", "alice")
	p.WaitEvent(t, "SaveFailed").WantKind(t, "Hooks.SaveFailed", "NotSavedError")
	return w, p
}

// TestLostAnswerSaveFails has the store refuse the new pair after the server
// has rotated. The pair must live on in memory, be used, and never be replaced by
// the spent one; the program must be told; and Close must make a last attempt and
// say how that went.
func TestLostAnswerSaveFails(t *testing.T) {
	t.Parallel()
	for _, f := range saveFaults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w, p := unsaved(t, f)
			p.Get(t).WantServed(t, "a request with the token that is not stored", "alice")
			w.wantStored(t, tokenclient.Active, 1)

			other := w.Start(t, nil)
			a := other.Do(t, processes.Order{Do: "get", Timeout: 200 * time.Millisecond})
			a.WantKind(t, "another process, which has only the spent token", "DeadlineExceeded")

			p.Do(t, processes.Order{Do: "close"}).WantKind(t, "Close while the store fails", "NotSavedError")
			p.Do(t, processes.Order{Do: "close"}).WantKind(t, "Close again", "NotSavedError")
			f.mend(t, w, p)
			p.Do(t, processes.Order{Do: "close"}).Want(t, "Close once the store works")

			w.wantStored(t, tokenclient.Active, 2)
			other.Get(t).WantServed(t, "the process that waited", "alice")
			w.Start(t, nil).Get(t).WantServed(t, "a later process", "alice")
			w.WantRefreshes(t, 1, 0)
		})
	}
}

// TestLostAnswerSavedLater mends the store and does nothing else: the session
// must notice by itself, and others must get the token.
func TestLostAnswerSavedLater(t *testing.T) {
	t.Parallel()
	f := saveFaults[0]
	w, p := unsaved(t, f)
	other := w.Start(t, nil)
	get := other.Order(t, processes.Order{Do: "get"})
	f.mend(t, w, p)
	get.Wait(t).WantServed(t, "the process that waits", "alice")
	w.wantStored(t, tokenclient.Active, 2)
	w.WantRefreshes(t, 1, 0)
}
