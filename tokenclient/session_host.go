package tokenclient

import (
	"context"
	"fmt"
	"time"
)

// A host is what a session lives in, with others that may refresh at the same token
// endpoint, or [alone]. The session tells it what it is about to do and what has become of
// it, and holds no lock meanwhile.
type host interface {
	// inTurn calls exchange when it is s's turn to present a token, and ahead of others if
	// this is the second try of the same refresh. exchange hands the Store what it gets,
	// which is fn and keeps to the turn, and is called again if the turn was over before
	// it came to fn. The error is errNoTurn if there is no turn before ctx ends.
	inTurn(ctx context.Context, s *Session, again bool, fn presentFunc, exchange func(presentFunc) (Record, error)) (Record, error)

	// hurry keeps s from waiting for its turn until done is called, if ctx is that of
	// another session's presentation: that has a turn, and is about to wait for s.
	hurry(ctx context.Context, s *Session) (done func())

	// whenRoom calls start when there is room for an early refresh of s, for which left is
	// the time that is left. start returns at once, and reports whether there is a refresh.
	whenRoom(s *Session, left time.Duration, start func() bool)

	// changed says that there was a login, a logout, or the end of s.
	changed(s *Session)
}

// errNoTurn is the result of a refresh that was not begun because its session is closed, or
// its host.
var errNoTurn = fmt.Errorf("%w: no turn to refresh", ErrClosed)

// alone is the host of a session that shares nothing.
type alone struct{}

func (alone) inTurn(_ context.Context, _ *Session, _ bool, fn presentFunc, exchange func(presentFunc) (Record, error)) (Record, error) {
	return exchange(fn)
}

func (alone) hurry(context.Context, *Session) (done func()) { return func() {} }

func (alone) whenRoom(_ *Session, _ time.Duration, start func() bool) { start() }

func (alone) changed(*Session) {}

// A presentFunc is what a [Store] calls in Refresh.
type presentFunc = func(ctx context.Context, current Record) (*Token, error)

// busy reports whether s has something to do, or knows something that would be lost with
// it. It is for its host.
func (s *Session) busy() (busy bool) {
	s.ask(func(st *state, now time.Time) { busy = st.remembers(now) })
	return busy || s.work.current() != nil || s.waiting.Load() > 0 || s.early.Load() ||
		s.control.taken() || s.unsaved.any()
}
