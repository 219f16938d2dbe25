package simulation_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing/synctest"

	"github.com/gofrs/flock"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A store.File is in few histories: it works on a real folder, with real locks, and syncs what
// it writes. That takes no time in the bubble. A process gets to its store one operation after
// another, as to the network, and each works as far as it gets before the next begins; so a
// history is the same each time, as others are. The processes have a File each. When one is killed
// its lock is free, as the kernel sees to it, for its goroutines give it up; but what they write
// into the folder while they end, which a dead process could not, is taken back.

// filesIn is the share of the histories over an engine that are over a folder instead.
const filesIn = 0.05

// drawFile may put a store.File in the place of an engine, by a chance of its own.
func (s *settings) drawFile(seed uint64) {
	if rng := rand.New(rand.NewPCG(seed, 13)); s.store == storeShared && rng.Float64() < filesIn {
		s.store = storeFile
		s.keys = oneKey
	}
}

// makeFolder makes that of the history.
func (w *world) makeFolder() {
	dir, err := os.MkdirTemp("", "simulation-")
	if err != nil {
		panic(err)
	}
	w.folder = dir
}

// removeFolder leaves nothing of it.
func (w *world) removeFolder() {
	if w != nil && w.folder != "" {
		if err := os.RemoveAll(w.folder); err != nil {
			panic(err)
		}
	}
}

// newFile returns the File of a process.
func (p *process) newFile() tokenclient.Store {
	f, err := store.NewFile(filepath.Join(p.w.folder, "tokens"), sealer(p.keys()))
	if err != nil {
		panic(err)
	}
	return &judgedStore{p, f}
}

// asTheyAre has a process die, and the records in the folder be as they were before.
func (w *world) asTheyAre(die func()) {
	if w.plan.set.store != storeFile {
		die()
		return
	}
	before := w.records()
	die()
	synctest.Wait() // nobody else has anything to do now
	for path, raw := range before {
		if r, err := protocol.DecodeRecord(raw); err == nil && r.Lease != [16]byte{} {
			w.met["a File is left with a claim of the dead"]++
			w.abandoned[r.Lease] = true
		}
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, raw) {
			continue
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			panic(err)
		}
	}
}

// records are those in the folder, by their paths.
func (w *world) records() map[string][]byte {
	dir, list := filepath.Join(w.folder, "tokens"), map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); filepath.Ext(path) == "" {
			if list[path], err = os.ReadFile(path); err != nil {
				panic(err)
			}
		}
	}
	return list
}

// judgeFolder looks for what is left in the folder when all is closed: holds, locks that are
// not free, temporary files, and tokens that are not sealed.
func (w *world) judgeFolder() {
	dir := filepath.Join(w.folder, "tokens")
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.violated("nothing left", "the folder cannot be read: %v", err)
	}
	w.met["a store.File is looked through"]++
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch ext := filepath.Ext(path); {
		case strings.HasPrefix(entry.Name(), ".tmp-"), ext == ".corrupt":
			w.violated("nothing left", "a file %s", entry.Name())
		case ext == ".lock", ext == ".hold":
			l := flock.New(path, flock.SetFlag(os.O_RDWR))
			if ok, err := l.TryLock(); err != nil || !ok {
				w.violated("nothing left", "the lock %s is not free (%v)", ext, err)
			}
			_ = l.Close()
		default:
			raw, err := os.ReadFile(path)
			if err == nil {
				err = w.judgeRecord(raw)
			}
			if err != nil {
				w.violated("nothing left", "%v", err)
			}
		}
	}
}

func (w *world) judgeRecord(raw []byte) error {
	r, err := protocol.DecodeRecord(raw)
	switch {
	case err != nil:
		return err
	case r.Lease != [16]byte{} && !w.abandoned[r.Lease] && w.plan.set.tokenTrouble == 0:
		return fmt.Errorf("a hold on a record of a store.File")
	case containsSecret(string(raw)):
		w.violated("no secret", "a file has a token in plaintext")
	}
	return nil
}
