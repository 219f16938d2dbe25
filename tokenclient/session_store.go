package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
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
		s.note(slog.LevelError, "panic contained", "in", e.Name, "stack", string(e.Stack))
	}
	return fmt.Errorf("%w: %w", errBroken, e)
}

// errHangs is the error in the place of the result of name, which was left behind.
func errHangs(name string) error {
	return fmt.Errorf("%w: %s did not return when its context ended: %w", errBroken, name, context.DeadlineExceeded)
}

// storeless reports whether the token lives in memory only.
func (s *Session) storeless() bool {
	if p, ok := s.store.(*partStore); ok {
		return p.whole.storeless()
	}
	_, own := s.store.(*ownStore)
	return own
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
	if errors.Is(err, ErrReplaced) {
		s.revokeOrphan(e.Token)
	}
	if err == nil || errors.Is(err, ErrReplaced) || errors.Is(err, ErrOvertaken) {
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

// saveAll tries to store everything that is not stored. It is for Close.
func (s *Session) saveAll(ctx context.Context) (errs []error) {
	if err := s.saveRenewedLast(ctx); err != nil {
		s.saveFailed(err)
		errs = append(errs, err)
	}
	ctx, cancel := context.WithTimeout(s.insideContext(ctx), s.timeout)
	defer cancel()
	for _, e := range s.unsaved.all() {
		if s.saveAgain(ctx, e) != nil {
			errs = append(errs, e)
		}
	}
	return errs
}

// revokeOrphan tells the server to forget a token that lost to a login or logout.
func (s *Session) revokeOrphan(t *Token) {
	if err := s.revoke(s.insideContext(context.Background()), t); err != nil {
		s.note(slog.LevelWarn, "token that lost to a login or logout not revoked", "err", err)
	}
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
