package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/work"
)

// insideKey marks the contexts that a session hands to its Refresher and Store. Those of a
// part of it bear the mark of the whole: they have one hold on the key.
type insideKey struct{ whole *Session }

func (s *Session) inside(ctx context.Context) bool { return ctx.Value(insideKey{s.whole()}) != nil }

// whole returns the session that s is a part of, or s.
func (s *Session) whole() *Session {
	if p, ok := s.store.(*partStore); ok {
		return p.whole
	}
	return s
}

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

// Close ends the session: it waits for a refresh that is under way and for its
// result to be saved, but not for another process that holds the key. Requests
// and calls fail with ErrClosed from then on. Close does not log out: the stored
// token stays.
//
// From the end of ctx on nothing more is presented to the server, and Close waits only for
// a refresh token that the server may have already, for Config.RefreshTimeout and 10
// seconds at most: a process that ended now would leave a spent token in the Store, and
// with it the next process would have to log in. So Close may be given a context that has
// ended, such as that of [os/signal.NotifyContext] after a signal. (A session without a
// Store has nothing to leave, and does not wait.)
//
// If a refreshed or renewed token could not be stored Close tries a last time, for
// Config.RefreshTimeout at most, whatever became of ctx. Its error is a [*NotSavedError] if
// that fails: without that token the next process has to log in. If ctx ended and something
// was not waited for, the error is ctx's too. Close may be called again, and does again
// what is left to do.
//
// A Refresher, Store, [ClientAuth] or any other callback that calls Close with the context
// it was given would wait for itself: the error is ErrReentrant, and nothing is closed. One
// that drops that context keeps Close waiting for Config.RefreshTimeout and a minute, as
// does any Refresher or Store that ignores the end of its context. Hooks may call Close:
// it does not wait for them.
func (s *Session) Close(ctx context.Context) error {
	if s.inside(ctx) {
		return fmt.Errorf("tokenclient: Close would wait for its own caller: %w", ErrReentrant)
	}
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	now := s.work.Close()
	s.host.changed(s)
	var errs []error
	for _, part := range s.parts {
		errs = append(errs, part.Close(ctx))
	}
	errs = append(errs, s.await(ctx, now))
	return errors.Join(append(s.saveAll(context.WithoutCancel(ctx)), errs...)...)
}

// abandon ends a session that nobody has seen.
func (s *Session) abandon() {
	for _, part := range s.parts {
		part.abandon()
	}
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	if now := s.work.Close(); now != nil {
		now.End()
	}
}

func (s *Session) isOpen() (open bool) {
	s.ask(func(st *state, _ time.Time) { open = !st.closed })
	return open
}
