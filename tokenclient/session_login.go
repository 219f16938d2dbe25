package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// SetToken makes t the session's token, as after a login, and stores it. A
// refresh under way cannot bring the old token back. The session keeps a copy; an
// Expiry that is zero is read from the access token if that is a JWT, and a TokenType that
// cannot be a scheme (RFC 9110, section 11.1), such as a URN, is dropped.
//
// A token without an AccessToken is a start too, if it has a RefreshToken: the first request
// fetches the rest. That needs a Config.Refresher. If that can do without any token, as
// client credentials can, an empty one undoes a logout.
//
// If the token cannot be stored the error says so, and the session keeps what it
// had. If Logout ran at the same time the error is ErrLoggedOut.
func (s *Session) SetToken(ctx context.Context, t *Token) error {
	if t == nil {
		return errors.New("tokenclient: SetToken of a nil token; use Logout to forget one")
	}
	t = t.Clone()
	t.dropType()
	if err := s.checkLogin(t); err != nil {
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	}
	for name, a := range t.Audiences { // the numbers may be those of another login
		t.Audiences[name] = AudienceToken{a.Token, 1}
	}
	if t.AccessToken == "" {
		t.Expiry = time.Time{} // there is no access token that could expire
	}
	if t.Expiry.IsZero() {
		expiry, issued := endpoint.JWTExpiry(t.AccessToken, t.Issued)
		t.Expiry = expiry
		if t.Issued.IsZero() {
			t.Issued = issued
		}
	}
	if t.Issued.IsZero() {
		t.Issued = time.Now() // what is left is all that is known of the lifetime
	}
	t.stripMonotonic()

	return s.login(ctx, t)
}

// checkLogin reports why t cannot be the session's token.
func (s *Session) checkLogin(t *Token) error {
	switch {
	case t.AccessToken != "":
	case t.RefreshToken != "" && !s.config().hasRefresher():
		return fmt.Errorf("token has no access token, and cannot get one: %w", errNoRefresher)
	case !s.config().canRefresh(t):
		return errors.New("token has neither an access token nor a refresh token")
	}
	return t.check()
}

// login makes t the session's token when it is in the store.
func (s *Session) login(ctx context.Context, t *Token) (err error) {
	if err := s.takeLogin(ctx); err != nil {
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	}
	defer s.leaveLogin()
	var fence uint64
	open := false
	s.ask(func(st *state, _ time.Time) {
		if st.isOpen() { // after the end nothing is held to ask about
			err = s.gone(ctx, st.lastHeld)
		}
		if err == nil {
			fence, open = st.loginBegins()
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	case !open:
		return ErrClosed
	}
	ended := s.logsIn(ctx)
	r, _, err := s.replace(ctx, t)
	if err != nil {
		ended(nil)
		return fmt.Errorf("tokenclient: SetToken: %w", err)
	}
	s.change(func(st *state, now time.Time) (fx effects) {
		fx, err = st.loginStored(fence, r, now)
		return fx
	})
	switch _, steps := ctx.Value(steppingKey{s.whole()}).(*stepping); {
	case err != nil:
		ended(nil)
	case steps && (r.Token.AccessToken != t.AccessToken || r.Token.RefreshToken != t.RefreshToken):
		// Another process logged in while this one wrote: StepUp vouches for its own login.
		ended(nil)
		err = fmt.Errorf("tokenclient: SetToken: %w", ErrReplaced)
	default:
		ended(&r.Era)
	}
	s.tellHost()
	return err
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
	var fence uint64
	var mine Record
	var err error
	s.change(func(st *state, now time.Time) (fx effects) {
		fence, mine, fx, err = st.logoutBegins(now)
		return fx
	})
	if err != nil {
		return err
	}
	s.tellHost() // only s knows it so far: its host must not forget s

	was, err := s.storeLogout(ctx, fence)
	if err != nil {
		err = fmt.Errorf("tokenclient: logged out here, but not in the store: %w", err)
	}
	// The two differ if another process refreshed, or if this one could not save.
	errs := []error{err, s.revoke(ctx, mine.Token)}
	switch {
	case was.Token != nil && (mine.Token == nil || was.Token.RefreshToken != mine.Token.RefreshToken):
		errs = append(errs, s.revoke(ctx, was.Token))
	case was.State == Active && was.Token == nil && (mine.Token == nil || newer(was, mine)):
		if s.canRevoke() {
			errs = append(errs, errors.New("tokenclient: logged out, but the server was not told: the stored token could not be opened"))
		}
	}
	return errors.Join(errs...)
}

// storeLogout writes the logout that began at fence, unless a login has come since and
// written over what was to be forgotten. It returns what was stored.
func (s *Session) storeLogout(ctx context.Context, fence uint64) (was Record, err error) {
	if err := s.takeLogin(ctx); err != nil {
		return Record{}, err
	}
	defer s.leaveLogin()
	if s.holds().usable() {
		return Record{}, nil
	}
	if _, was, err = s.replace(ctx, nil); err == nil {
		s.ask(func(st *state, _ time.Time) { st.logoutStored(fence) })
	}
	return was, err
}

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
// does any Refresher or Store that ignores the end of its context. A Store that does so in the
// last attempt is left behind after twice Config.RefreshTimeout more. Hooks may call Close: it
// does not wait for them.
func (s *Session) Close(ctx context.Context) error {
	if s.inside(ctx) {
		return fmt.Errorf("tokenclient: Close would wait for its own caller: %w", ErrReentrant)
	}
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	now := s.stop()
	s.tellHost()
	ended := errors.Join(s.eachPart(func(part *Session) error { return part.Close(ctx) }), s.await(ctx, now))
	return errors.Join(s.saveLast(context.WithoutCancel(ctx)), ended)
}

// abandon ends a session that nobody has seen.
func (s *Session) abandon() {
	_ = s.eachPart(func(part *Session) error { part.abandon(); return nil })
	s.change(func(st *state, _ time.Time) effects { return st.close() })
	if now := s.stop(); now != nil {
		now.End()
	}
}

// saveLast tries a last time to store what is not stored. A Store that does not heed the end of
// its context is left behind.
func (s *Session) saveLast(ctx context.Context) error {
	if !s.renewalDue() && len(s.unsavedPairs()) == 0 {
		return nil
	}
	ctx, cancel := s.lastTime(ctx)
	defer cancel()
	call := contain.Go("Store.Save", s.broken, func() (struct{}, error) { return struct{}{}, s.saveWhatIsLeft(ctx) })
	if !call.Wait(ctx, calleeGrace) {
		return s.leftUnsaved()
	}
	_, err := call.Result()
	return err
}

func (s *Session) saveWhatIsLeft(ctx context.Context) error {
	var errs []error
	if err := s.saveRenewedLast(ctx); err != nil {
		s.saveFailed(err)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.saveAll(ctx)...)...)
}

// leftUnsaved tells of the tokens that are still not stored when the Store is left behind.
func (s *Session) leftUnsaved() error {
	list := s.unsavedPairs()
	if e := s.renewalUnsaved(errHangs("Store.Save")); e != nil {
		list = append(list, e)
	}
	errs := []error{errCloseLate}
	for _, e := range list {
		s.saveFailed(e)
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
