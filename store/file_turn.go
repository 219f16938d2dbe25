package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// A fileTurn is the turn of a File: a slot within the process, then the long lock,
// which is held during fn. A process that was stopped keeps the lock and is waited
// for, however long that takes: it may go on with a call that it has begun. Thus
// two processes never present the same token, as they may where a hold runs out.
//
// With FileOptions.DeadRequestsEndWithin the lock outlasts a call that was given up, whose
// request may be at work still. Who then finds a claim under the lock knows that its holder
// has died, and with it the connection.
type fileTurn struct {
	slotTurn
	file *File
	lock *fileLock

	began   time.Time     // when the lock was tried first
	changed chan struct{} // gets one when the record has changed since
	unwatch func()        // nil: nobody watches it

	deadClaim [16]byte  // write id of a claim whose holder died
	deadUntil time.Time // when the request of that holder is over
}

func (t *fileTurn) Ready(ctx context.Context, r *protocol.Record) (bool, error) {
	if !t.held {
		if _, err := t.slotTurn.Ready(ctx, r); err != nil || !t.held {
			return false, err
		}
	}
	if t.lock == nil {
		path := t.file.path(t.key) + longSuffix
		var err error
		switch t.lock, err = tryLock(path, checkOwnFile); {
		case err != nil:
		case t.lock != nil:
			t.endWatch()
		default:
			if err = t.pause(ctx); err != nil {
				err = fmt.Errorf("lock %s: held by another process: %w", path, err)
			}
		}
		return false, err // the record may have changed before the lock was ours
	}
	if r.Lease != [16]byte{} {
		if over, err := t.outlive(ctx, r); !over || err != nil {
			return false, err
		}
	}
	if err := t.file.reserve(t.key); err != nil {
		return false, err
	}
	return true, ctx.Err()
}

// pause waits until the record has changed, or it is time to look: who holds the lock replaces
// the record before it frees that, unless it dies, and the kernel does not tell everywhere.
func (t *fileTurn) pause(ctx context.Context) error {
	if t.began.IsZero() {
		t.began = time.Now()
		t.watch()
	}
	look := time.NewTimer(protocol.Share(time.Since(t.began)))
	defer look.Stop()
	return t.change(ctx, look.C)
}

func (t *fileTurn) watch() {
	changed := make(chan struct{}, 1)
	t.changed = changed
	t.unwatch, _ = t.file.folder.Watch(filepath.Base(t.file.path(t.key)), func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
}

// change waits until the record has changed, or for look.
func (t *fileTurn) change(ctx context.Context, look <-chan time.Time) error {
	select {
	case <-t.changed:
		return nil
	case <-look:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *fileTurn) endWatch() {
	if t.unwatch != nil {
		t.unwatch()
		t.unwatch = nil
	}
}

// outlive waits until the request of a holder that died cannot have an effect any
// more: until then the token may be exchanged at any moment, and to present it a
// second time after that ends the session at servers that detect reuse.
//
// The holder may have died just now; only the time since it wrote the record has
// certainly passed. A time of day that was set back proves nothing, and one that was set
// forward no more than the stamp says. The stamp also says whether what is promised of
// requests whose process has died holds for this one.
func (t *fileTurn) outlive(ctx context.Context, r *protocol.Record) (bool, error) {
	if t.deadClaim != r.WriteID {
		info, err := os.Lstat(t.file.path(t.key))
		if err != nil {
			return false, err
		}
		passed := min(max(time.Since(info.ModTime()), 0), r.Hold())
		promised := time.Duration(0)
		if s, ok := t.file.readStamp(t.key); ok {
			passed = min(passed, s.since)
			if s.holderDied(r) {
				promised = t.file.deadRequests
			}
		}
		t.deadClaim, t.deadUntil = r.WriteID, time.Now().Add(r.Outlives(passed, promised))
	}
	left := time.Until(t.deadUntil)
	if left <= 0 {
		return true, nil
	}
	return false, protocol.Sleep(ctx, min(left, t.poll.Next()))
}

func (t *fileTurn) End(lingers time.Duration) {
	t.endWatch()
	if t.lock != nil {
		t.file.unreserve(t.key)
		if lingers > 0 && t.file.deadRequests > 0 {
			time.AfterFunc(lingers, t.unlock) // or the end of the process
			return
		}
	}
	t.unlock()
}

func (t *fileTurn) unlock() {
	if t.lock != nil {
		t.lock.unlock()
		t.lock = nil
	}
	t.slotTurn.End(0)
}
