package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// SetToken makes t the session's token, as after a login, and stores it. A
// refresh under way cannot bring the old token back. The session keeps a copy; an
// Expiry that is zero is read from the access token if that is a JWT.
//
// If the token cannot be stored the error says so, and the session keeps what it
// had. If Logout ran at the same time the error is ErrLoggedOut.
func (s *Session) SetToken(ctx context.Context, t *Token) error {
	if t == nil {
		return errors.New("tokenclient: SetToken of a nil token; use Logout to forget one")
	}
	if err := t.check(); err != nil {
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	}
	t = t.Clone()
	if t.Expiry.IsZero() {
		expiry, issued := jwtExpiry(t.AccessToken, t.Issued)
		t.Expiry = expiry
		if t.Issued.IsZero() {
			t.Issued = issued
		}
	}
	if t.Issued.IsZero() {
		t.Issued = time.Now() // what is left is all that is known of the lifetime
	}
	t.stripMonotonic()

	if err := s.takeControl(ctx); err != nil {
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	}
	defer s.leaveControl()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.epoch++
	epoch := s.epoch
	s.mu.Unlock()

	now, _, err := s.replace(ctx, t)
	if err != nil {
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	}
	defer s.host.changed(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.epoch != epoch:
		return ErrLoggedOut // and the store will be: Logout waits for this
	case now.State != Active || now.Token == nil:
		s.endLocked(ErrLoginRequired, false) // another process logged out a moment later
		return ErrLoggedOut
	}
	s.epoch++ // a refresh that was begun while the store was written to knows less
	s.storm = nil
	s.adoptLocked(now, false)
	s.turnLocked()
	return nil
}

// Logout forgets the token, in memory first and whatever happens, then in the
// store, and tells the server to revoke it if the Refresher is a [Revoker] (RFC
// 7009). Requests fail with ErrLoginRequired from then on, those that wait with
// ErrLoggedOut, and a refresh under way cannot bring the session back: the token
// that it gets is revoked too.
//
// An error means that the store or the server does not know. If it is
// ErrStoreUnavailable, ErrStoreCorrupt or ctx's, the stored token is still there,
// and another process may use it; call Logout again. The session itself does not
// take it up again. The server is told once: if that fails, its side of the login
// lives on until it expires.
func (s *Session) Logout(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.epoch++
	epoch, mine := s.epoch, s.held.Load().record
	s.endLocked(ErrLoggedOut, true)
	s.mu.Unlock()
	s.host.changed(s) // s alone knows, until the store does

	was, err := s.storeLogout(ctx, epoch)
	if err != nil {
		err = fmt.Errorf("tokenclient: logged out here, but not in the store: %w", err)
	}
	// The two differ if another process refreshed, or if this one could not save.
	errs := []error{err, s.revoke(ctx, mine.Token)}
	switch {
	case was.Token != nil && (mine.Token == nil || was.Token.RefreshToken != mine.Token.RefreshToken):
		errs = append(errs, s.revoke(ctx, was.Token))
	case was.State == Active && was.Token == nil && (mine.Token == nil || newer(was, mine)):
		if _, ok := s.refresher.(Revoker); ok {
			errs = append(errs, errors.New("tokenclient: logged out, but the server was not told: the stored token could not be opened"))
		}
	}
	return errors.Join(errs...)
}

// storeLogout writes the logout that began epoch, unless a login has come since
// and written over what was to be forgotten. It returns what was stored.
func (s *Session) storeLogout(ctx context.Context, epoch uint64) (Record, error) {
	if err := s.takeControl(ctx); err != nil {
		return Record{}, err
	}
	defer s.leaveControl()
	if s.held.Load().usable() {
		return Record{}, nil
	}
	_, was, err := s.replace(ctx, nil)
	if err == nil {
		s.mu.Lock()
		if s.trouble != nil && s.epoch == epoch {
			s.trouble.left.unstored = false
		}
		s.mu.Unlock()
	}
	return was, err
}

// Logins and logouts write to the store one after another, so that it ends with
// the one that memory ended with.
//
// A Store that calls one from within another would wait for itself.
func (s *Session) takeControl(ctx context.Context) error {
	if ctx.Value(controlKey{s}) != nil {
		return ErrReentrant
	}
	for {
		s.mu.Lock()
		over := s.control
		if over == nil {
			s.control = make(chan struct{})
		}
		s.mu.Unlock()
		if over == nil {
			return nil
		}
		select {
		case <-over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Session) leaveControl() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.control)
	s.control = nil
}

// controlKey marks the contexts that Store.Replace gets.
type controlKey struct{ s *Session }

// replace is Store.Replace, whatever the Store does.
func (s *Session) replace(ctx context.Context, t *Token) (now, was Record, err error) {
	ctx = context.WithValue(context.WithValue(ctx, insideKey{s}, true), controlKey{s}, true)
	err = s.contain("Store.Replace", func() (err error) {
		now, was, err = s.store.Replace(ctx, s.key, t)
		return err
	})
	if errors.Is(err, errBroken) {
		err = fmt.Errorf("%w: Store.Replace panicked", ErrStoreUnavailable)
	}
	return now, was, err
}

// keepTrying stores a refreshed token that could not be stored, for as long as
// the session lives.
func (s *Session) keepTrying(e *NotSavedError) {
	s.mu.Lock()
	if s.unsaved == nil {
		s.unsaved = make(map[*NotSavedError]struct{})
	}
	s.unsaved[e] = struct{}{}
	s.mu.Unlock()
	if !s.begin() {
		return // Close makes the last attempt
	}
	go func() {
		defer s.finish()
		for wait := backoffFirst; ; wait = min(2*wait, backoffMax) {
			s.pause(wait)
			// Close makes the last attempt.
			if !s.isOpen() || s.save(s.lifetime(), e) == nil {
				return
			}
		}
	}()
}

// pause waits for a time between half of d and d, or until the session is closed.
func (s *Session) pause(d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.atWork().closing:
	}
}

func (s *Session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed
}

// save tries once more to store a token. A nil error means that there is nothing
// left to store.
func (s *Session) save(ctx context.Context, e *NotSavedError) error {
	err := s.contain("NotSavedError.Save", func() error { return e.Save(ctx) })
	if errors.Is(err, ErrReplaced) {
		s.revokeOrphan(e.Token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || errors.Is(err, ErrReplaced) || errors.Is(err, ErrOvertaken) {
		delete(s.unsaved, e)
		return nil
	}
	s.saveFailedLocked(e)
	return err
}

func (s *Session) saveFailedLocked(e *NotSavedError) {
	info := s.infoLocked(flight{})
	s.note(slog.LevelError, "token not saved", "generation", info.Generation, "err", e.Err)
	if s.hooks.SaveFailed != nil {
		s.events.post(func() { s.hooks.SaveFailed(info, e) })
	}
}

// Close ends the session: it waits for a refresh that is under way and for its
// result to be saved, but not for another process that holds the key. Requests
// and calls fail with ErrClosed from then on. Close does not log out: the stored
// token stays.
//
// If a refreshed or renewed token could not be stored Close tries a last time, and
// its error is a [*NotSavedError] if that fails: without that token the next process
// has to log in. If ctx ends first the error is ctx's too. Close may be called again, and
// does again what is left to do.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		old := s.held.Load()
		s.held.Store(&held{generation: old.generation + 1, logouts: old.logouts})
		s.turnLocked()
		s.endCalmLocked()
		if s.work != nil {
			close(s.work.closing)
		}
	}
	w := s.work
	s.mu.Unlock()
	s.host.changed(s)
	err := w.await(ctx)
	return errors.Join(append(s.saveAll(ctx), err)...)
}

// saveAll tries to store everything that is not stored.
func (s *Session) saveAll(ctx context.Context) (errs []error) {
	if err := s.storeRenewedLast(ctx); err != nil {
		s.saveFailed(err)
		errs = append(errs, err)
	}
	s.mu.Lock()
	var unsaved []*NotSavedError
	for e := range s.unsaved {
		unsaved = append(unsaved, e)
	}
	s.mu.Unlock()
	for _, e := range unsaved {
		if s.save(ctx, e) != nil {
			errs = append(errs, e)
		}
	}
	return errs
}
