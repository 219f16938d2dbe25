package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/work"
	"golang.org/x/sync/singleflight"
)

// insideKey marks the contexts that a session hands to its Refresher and Store. Those of a
// part of it bear the mark of the whole: they have one hold on the key.
type insideKey struct{ whole *Session }

func (s *Session) inside(ctx context.Context) bool { return ctx.Value(insideKey{s.whole()}) != nil }

// insideHost marks them for the [host] of the session, which has more to wait for.
type insideHost struct{ host host }

// insideContext returns ctx as one with which nothing can wait for a refresh of s.
func (s *Session) insideContext(ctx context.Context) context.Context {
	whole := s.whole()
	return context.WithValue(context.WithValue(ctx, insideHost{whole.host}, true), insideKey{whole}, true)
}

// begin notes that something runs. It returns false if the session is closed and nothing
// runs: what runs may begin more until it is done. finish follows.
func (s *Session) begin() bool {
	return s.work.Begin(func() context.Context { return s.insideContext(context.Background()) })
}

func (s *Session) finish() { s.work.Finish() }

// inBackground runs f as work of the session's, and reports whether it does.
func (s *Session) inBackground(f func()) bool {
	if !s.begin() {
		return false
	}
	go func() {
		defer s.finish()
		f()
	}()
	return true
}

// lifetime is the context of what s does by itself. It may be called only between begin and
// finish.
func (s *Session) lifetime() context.Context { return s.work.Now().Lifetime }

// pause waits before the next try, or until the session is closed. It may be called only then, too.
func (s *Session) pause(retry *limit.Retry) {
	timer := time.NewTimer(retry.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.work.Now().Closing:
	}
}

// A chore is what a session does in the background, one of each kind at a time.
type chore uint8

const (
	earlyRefresh   chore = iota // a refresh before anybody needs it
	refusedRefresh              // that of a token that was refused, for which perhaps nobody waits
	renewedSave                 // the save of renewed tokens
	chores
)

// takeUp reports whether c was not under way, and is from now on until layDown.
func (s *Session) takeUp(c chore) bool { return s.chores[c].CompareAndSwap(false, true) }

func (s *Session) layDown(c chore) { s.chores[c].Store(false) }

// fly begins the flight of that name with f, or joins it. Its result says nothing to who leaves.
func (s *Session) fly(name string, f func() (any, error)) <-chan singleflight.Result {
	return s.flights.DoChan(name, f)
}

// join is fly for who waits until the flight is over, ctx ends, or released is closed. ended
// reports whether it was the first.
func (s *Session) join(ctx context.Context, released <-chan struct{}, name string, f func() (any, error)) (r singleflight.Result, ended bool) {
	select {
	case r = <-s.fly(name, f):
		return r, true
	case <-released:
	case <-ctx.Done():
	}
	return r, false
}

// watch is for who is going to wait for what a login, a logout or the end makes pointless, until
// unwatch is called.
func (s *Session) watch() (unwatch func()) {
	s.released.Watch()
	return s.released.Unwatch
}

// release is closed with the next login, logout or end. Take it first and look at the state then:
// nothing is missed.
func (s *Session) release() <-chan struct{} { return s.released.Sent() }

// waitForRefresh counts ctx's owner among those who cannot go on without a refresh, until leave
// is called.
func (s *Session) waitForRefresh(ctx context.Context) (leave func()) {
	s.waiting.Add(1)
	unwatch := s.watch()
	done := s.host.hurry(ctx, s)
	return func() {
		done()
		unwatch()
		s.waiting.Add(-1)
	}
}

// waiters is how many they are.
func (s *Session) waiters() int { return int(s.waiting.Load()) }

// tellHost says that there was a login, a logout, or the end.
func (s *Session) tellHost() { s.host.changed(s) }

// whenRoom calls start when there is room for an early refresh, for which left is the time.
func (s *Session) whenRoom(left time.Duration, start func() bool) { s.host.whenRoom(s, left, start) }

// mayPresent reports whether a refresh token may be presented. presented follows, when its
// successor is stored or it is known that there is none.
func (s *Session) mayPresent() bool { return s.work.MayPresent() }

func (s *Session) presented() { s.work.Presented() }

// unsaved are the refreshed tokens that could not be stored.
type unsaved struct {
	mu  sync.Mutex // guards set
	set map[*NotSavedError]struct{}
}

func (u *unsaved) add(e *NotSavedError) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set == nil {
		u.set = make(map[*NotSavedError]struct{})
	}
	u.set[e] = struct{}{}
}

func (u *unsaved) remove(e *NotSavedError) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.set, e)
}

func (u *unsaved) all() (list []*NotSavedError) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for e := range u.set {
		list = append(list, e)
	}
	return list
}

func (u *unsaved) any() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.set) > 0
}

// keepTrying stores a refreshed token that could not be stored, for as long as the session
// lives. Close makes the last attempt.
func (s *Session) keepTrying(e *NotSavedError) {
	s.unsaved.add(e)
	s.inBackground(func() {
		var retry limit.Retry
		for s.pause(&retry); s.isOpen() && s.saveAgain(s.lifetime(), e) != nil; {
			s.pause(&retry)
		}
	})
}

// saveAgain tries once more to store a token. A nil error means that there is nothing left to
// store.
func (s *Session) saveAgain(ctx context.Context, e *NotSavedError) error {
	err := s.contain("NotSavedError.Save", func() error { return e.Save(ctx) })
	if late := errors.Is(err, ErrReplaced) || errors.Is(err, ErrOvertaken); late || err == nil {
		if late {
			if err := s.cameTooLate(ctx, e.Token, err); err != nil {
				return err
			}
		}
		s.unsaved.remove(e)
		return nil
	}
	s.saveFailed(e)
	return err
}

// saveFailed tells that a token is not stored.
func (s *Session) saveFailed(e *NotSavedError) {
	s.change(func(st *state, now time.Time) (fx effects) {
		fx.tell(tokenNotSaved, st.info(flight{}, now), e)
		return fx
	})
}

// unsavedPairs are the refreshed tokens that are not stored.
func (s *Session) unsavedPairs() []*NotSavedError { return s.unsaved.all() }

// saveAll tries to store what is unsaved.
func (s *Session) saveAll(ctx context.Context) (errs []error) {
	ctx, cancel := s.storeTime(ctx)
	defer cancel()
	for _, e := range s.unsaved.all() {
		if s.saveAgain(ctx, e) != nil {
			errs = append(errs, e)
		}
	}
	return errs
}

// storeTime is how long the Store is given for what no caller waits for.
func (s *Session) storeTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.insideContext(ctx), s.timeout)
}

// lastTime bounds a Store that does not heed the end of storeTime, in the last attempt of Close
// to store a renewed token and then the refreshed ones: each has half of it.
func (s *Session) lastTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*s.timeout)
}

// busy reports whether s has something to do, or knows something that would be lost with
// it. It is for its host.
func (s *Session) busy() (busy bool) {
	s.ask(func(st *state, now time.Time) { busy = st.remembers(now) })
	return busy || s.work.Now() != nil || s.waiters() > 0 || s.chores[earlyRefresh].Load() ||
		s.loginLock.Taken() || s.unsaved.any() || slices.ContainsFunc(s.parts, (*Session).busy)
}

// stop is the end of what s does by itself: nothing begins any more. It returns what runs still.
func (s *Session) stop() *work.Now { return s.work.Close() }

const (
	// closePatience is how long Close waits for a refresh that has not got hold of the
	// stored token yet. It is long enough for one that has just begun, and ends the
	// wait for another process.
	closePatience = time.Second

	// closeStoreTime is how long Close gives the Store when its context has ended.
	closeStoreTime = 10 * time.Second

	// closeLateTime is how much longer than RefreshTimeout Close waits for a Refresher or
	// Store that ignores the end of its context. A pair that comes late is worth that; but
	// one that called Close, with another context than its own, waits for Close.
	closeLateTime = time.Minute
)

// patience is how long Close waits for what s does. A session without a Store has nothing to
// leave there.
func (s *Session) patience() work.Patience {
	return work.Patience{
		End:   closePatience,
		Most:  s.timeout + closeLateTime,
		Stays: !s.storeless(),
		Land:  s.timeout + closeStoreTime,
		Grace: calleeGrace, // what has ended takes a moment to say so
	}
}

// await waits until now, the work of s, which is closed, is done. now may be nil.
func (s *Session) await(ctx context.Context, now *work.Now) error {
	switch s.work.Wait(ctx, now, s.patience()) {
	case work.Left:
		return fmt.Errorf("tokenclient: Close did not wait for a refresh under way: %w", ctx.Err())
	case work.TooLate:
		return errCloseLate
	}
	return nil
}

var errCloseLate = fmt.Errorf("%w: Close did not wait any longer for a Refresher or a Store that does not return when its context ends", errBroken)
