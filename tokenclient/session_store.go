package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/awake"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
)

// errBroken marks what a Refresher or Store did against its contract: a second
// try of the same is no use.
var errBroken = errors.New("tokenclient: contract broken")

// calleeGrace is how much longer than its context a Refresher may take before those who
// wait are answered without it. Stores hold a key longer than that.
const calleeGrace = 500 * time.Millisecond

// contain calls f, which calls name, and returns its error. Whatever f does, it is an
// error: inside a flight a panic would end the process, and a Goexit would leave
// everybody waiting for ever.
func (s *Session) contain(name string, f func() error) error { return contain.Run(name, s.broken, f) }

// broken logs a panic and returns the error in the place of a result that never came.
func (s *Session) broken(e *contain.Error) error {
	if e.Stack != nil {
		s.note(slog.LevelError, "panic contained", func() []any { return []any{"in", e.Name, "stack", string(e.Stack)} })
	}
	return fmt.Errorf("%w: %w", errBroken, e)
}

// errHangs is the error in the place of the result of name, which was left behind.
func errHangs(name string) error {
	return fmt.Errorf("%w: %s did not return when its context ended: %w", errBroken, name, context.DeadlineExceeded)
}

// look makes a session without a token look whether its store has one by now: a login in
// another process, or the first request of this one. Everybody looks together, at most once
// per lookInterval. A nil error means that held changed.
func (s *Session) look(ctx context.Context) error {
	defer s.watch()()
	released := s.release()
	var may bool
	var err error
	s.ask(func(st *state, now time.Time) { may, err = st.mayLook(now) })
	switch {
	case !may:
		return err
	case s.inside(ctx):
		return ErrReentrant
	case ctx.Err() != nil:
		return ctx.Err()
	}
	r, ended := s.join(ctx, released, "look", func() (any, error) { return nil, s.lookTogether() })
	if !ended {
		return ctx.Err()
	}
	return r.Err
}

// lookTogether is the one look of everybody.
func (s *Session) lookTogether() (err error) {
	if !s.begin() {
		return ErrClosed
	}
	defer s.finish()
	fence := s.fence()
	r, failed := s.load(s.lifetime())
	if r.State == Absent && errors.Is(failed, ErrNoToken) {
		r, failed = s.startEmpty(fence, r, failed)
	}
	s.change(func(st *state, now time.Time) (fx effects) {
		fx, err = st.looked(fence, r, failed, now)
		return fx
	})
	return err
}

// startEmpty is the login of a session that needs none, when its store has nothing: from an
// empty token on, all is as with any other. What another process has written since the look
// stays: nobody may log in again because this session can do without.
func (s *Session) startEmpty(fence uint64, absent Record, err error) (Record, error) {
	if s.isPart() || !s.config().canRefresh(new(Token)) {
		return absent, err
	}
	ctx := s.lifetime()
	if err := s.takeLogin(ctx); err != nil {
		return Record{}, err
	}
	defer s.leaveLogin()
	may := false
	s.ask(func(st *state, _ time.Time) { may = st.mayStartEmpty(fence) })
	if !may {
		return absent, err
	}
	ctx = context.WithValue(s.insideContext(ctx), replaceKey{s}, true)
	r, err := s.save(ctx, Record{}, &Token{Issued: time.Now().Round(0)})
	switch {
	case errors.Is(err, ErrNoToken) && r.State == Absent:
		return r, fmt.Errorf("%w: %w: Store.Save did not begin with an empty token where there is none", ErrStoreUnavailable, errBroken)
	case (errors.Is(err, ErrReplaced) || errors.Is(err, ErrOvertaken)) && r.holdsToken():
		return r, nil // another process has started, or logged in, since the look
	}
	return r, err
}

// lookForNewer waits for a look at the store, at most one per lookInterval, of a session that
// has a token but cannot refresh it. It changes what is held, or nothing.
func (s *Session) lookForNewer(ctx context.Context) {
	defer s.watch()()
	released := s.release()
	if !s.inside(ctx) && s.mayLookForNewer() {
		_, _ = s.join(ctx, released, "newer", s.takeNewer)
	}
}

// lookForNewerSoon is lookForNewer for those who come later.
func (s *Session) lookForNewerSoon() {
	if s.mayLookForNewer() {
		s.inBackground(func() { <-s.fly("newer", s.takeNewer) })
	}
}

func (s *Session) mayLookForNewer() (may bool) {
	s.ask(func(st *state, now time.Time) { may = st.mayLookForNewer(now) })
	return may
}

// takeNewer takes a token over that another process put into the store.
func (s *Session) takeNewer() (any, error) {
	if !s.begin() {
		return nil, nil
	}
	defer s.finish()
	fence := s.fence()
	r, err := s.load(s.lifetime())
	s.change(func(st *state, now time.Time) effects { return st.lookedForNewer(fence, r, err, now) })
	return nil, nil
}

// fence returns what a login or logout changes.
func (s *Session) fence() (fence uint64) {
	s.ask(func(st *state, _ time.Time) { fence = st.begins() })
	return fence
}

// load is Store.Load, whatever the Store does.
func (s *Session) load(ctx context.Context) (r Record, err error) {
	err = s.contain("Store.Load", func() (err error) {
		r, err = s.store.Load(ctx, s.key)
		return err
	})
	switch {
	case err == nil && !r.holdsToken():
		err = ErrNoToken
	case errors.Is(err, errBroken):
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	case err != nil && !errors.Is(err, ErrNoToken):
		err = fmt.Errorf("tokenclient: load token: %w", err)
	}
	return r, err
}

// replaceKey marks the contexts that Store.Replace gets.
type replaceKey struct{ s *Session }

// takeLogin waits until no other login or logout of s writes to the store: they do so one after
// another, so that it ends with the one that memory ended with. A Store that calls one from
// within another would wait for itself. leaveLogin follows.
func (s *Session) takeLogin(ctx context.Context) error {
	if ctx.Value(replaceKey{s}) != nil {
		return ErrReentrant
	}
	return s.loginLock.Take(ctx)
}

func (s *Session) leaveLogin() { s.loginLock.Leave() }

// replace is Store.Replace, whatever the Store does.
func (s *Session) replace(ctx context.Context, t *Token) (now, was Record, err error) {
	ctx = context.WithValue(s.insideContext(ctx), replaceKey{s}, true)
	err = s.contain("Store.Replace", func() (err error) {
		now, was, err = s.store.Replace(ctx, s.key, t)
		return err
	})
	if errors.Is(err, errBroken) {
		err = fmt.Errorf("%w: Store.Replace panicked", ErrStoreUnavailable)
	}
	return now, was, err
}

// exchangeInTurn waits for s's turn and exchanges. again: it is the second try, which goes
// first.
func (s *Session) exchangeInTurn(lifetime context.Context, seen Record, again bool, fn presentFunc) (Record, error) {
	return s.host.inTurn(lifetime, s, again, fn, func(fn presentFunc) (Record, error) {
		return s.exchange(lifetime, seen, fn)
	})
}

// exchange is Store.Refresh, whatever the Store does.
func (s *Session) exchange(ctx context.Context, seen Record, fn presentFunc) (r Record, err error) {
	err = s.contain("Store.Refresh", func() (err error) {
		r, err = s.store.Refresh(ctx, s.key, seen, s.timeout, fn)
		return err
	})
	var te *TokenError
	if errors.Is(err, errBroken) && !errors.As(err, &te) {
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	return r, err
}

// save is Store.Save, whatever the Store does.
func (s *Session) save(ctx context.Context, seen Record, t *Token) (r Record, err error) {
	err = s.contain("Store.Save", func() (err error) {
		r, err = s.store.Save(ctx, s.key, seen, t)
		return err
	})
	if errors.Is(err, errBroken) {
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	return r, err
}

// cameTooLate is for unsaved, which is not going to be stored because of err: it is revoked after
// another login, and gives way to a token of the same number that is stored in its place. An
// error says that this is to be tried again.
func (s *Session) cameTooLate(ctx context.Context, unsaved *Token, err error) error {
	if errors.Is(err, ErrReplaced) {
		s.revokeOrphan(unsaved)
		return nil
	}
	whole := s.whole()
	if !whole.isOpen() {
		return nil
	}
	r, err := whole.load(ctx)
	switch {
	case err == nil:
		whole.change(func(st *state, now time.Time) effects { return st.tookUnsaved(unsaved, r, now) })
	case !errors.Is(err, ErrNoToken): // else the next look finds out
		return err
	}
	return nil
}

// callRefresher is Refresher.Refresh, whatever the Refresher does. ended is false if it did not
// return when its context ended.
func (s *Session) callRefresher(ctx context.Context, old *Token) (call *contain.Call[*Token], ended bool) {
	ctx, cancel := awake.WithTimeout(ctx, s.timeout)
	defer cancel()
	call = contain.Go("Refresher.Refresh", s.broken, func() (*Token, error) { return s.refresher.Refresh(ctx, old.Clone()) })
	return call, call.Wait(ctx, calleeGrace)
}

// revoke tells the server to forget t, if the Refresher can.
func (s *Session) revoke(ctx context.Context, t *Token) error {
	r, ok := s.refresher.(Revoker)
	if !ok || t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	call := contain.Go("Revoker.Revoke", s.broken, func() (struct{}, error) { return struct{}{}, r.Revoke(ctx, t) })
	err := errHangs("Revoker.Revoke")
	if call.Wait(ctx, calleeGrace) {
		_, err = call.Result()
	}
	if err != nil {
		return asTokenError(err, t)
	}
	return nil
}

func (s *Session) canRevoke() bool {
	_, ok := s.refresher.(Revoker)
	return ok
}

// revokeOrphan tells the server to forget a token that lost to a login or logout.
func (s *Session) revokeOrphan(t *Token) {
	if err := s.revoke(s.insideContext(context.Background()), t); err != nil {
		s.noteErr(slog.LevelWarn, "token that lost to a login or logout not revoked", err)
	}
}
