package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Refresh exchanges the refresh token now, whether or not the access token is
// still good, or takes part in a refresh that is under way. It returns a copy of
// the new token. Neither the wait after a failure nor the bound on refreshes that
// a 401 asked for holds it back. Errors are those of [Session.Token]. Without a
// Config.Refresher there is nothing to refresh with, which is an error at once.
func (s *Session) Refresh(ctx context.Context) (*Token, error) {
	if s.refresher == nil {
		return nil, fmt.Errorf("tokenclient: Refresh: %w", errNoRefresher)
	}
	h, err := s.asItIs(ctx)
	if err != nil {
		return nil, err
	}
	for {
		if h, err = s.refreshed(ctx, h, true); err != nil {
			return nil, err
		}
		if !s.cameInAnswer(h) { // a renewal that came first was not asked for
			return h.record.Token.Clone(), nil
		}
	}
}

// RefreshRejected is for protocols other than HTTP: it reports that the server
// refused t, which [Session.Token] returned, and returns a copy of a token to try
// instead. If the session has another token by now, that is returned at once;
// else it is refreshed, together with everybody who was refused, at most three
// times at once and then once in 30 seconds; beyond that the error is a
// [*TokenError] that says when. Try once with the result, and then give up.
//
// Without a Config.Refresher the token can only come from the Store, where another
// process may have put it; if it does not, the error is ErrLoginRequired, and the
// session goes on with the token that it has.
func (s *Session) RefreshRejected(ctx context.Context, t *Token) (*Token, error) {
	h, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	// The text alone does not tell: a server may issue the same one again.
	held := h.record.Token
	if t == nil || held.AccessToken != t.AccessToken || !held.Issued.Equal(t.Issued) {
		return held.Clone(), nil
	}
	if s.refresher == nil {
		return s.foundNewer(ctx, h)
	}
	if next, ok := s.mayRenew(h); !ok {
		if !s.isOpen() {
			return nil, ErrClosed
		}
		return nil, &TokenError{RetryAfter: time.Until(next), Err: errStorm}
	}
	if h, err = s.renewed(ctx, h); err != nil {
		return nil, err
	}
	return h.record.Token.Clone(), nil
}

var errStorm = errors.New("tokenclient: the server keeps refusing tokens that were just refreshed")

// mayRenew reports whether a refusal of h may lead to a refresh, and if not, when
// one may again.
func (s *Session) mayRenew(h *held) (next time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return time.Time{}, false
	}
	if s.held.Load().generation != h.generation {
		return time.Time{}, true // it was renewed already
	}
	if s.refresher == nil {
		s.lookForNewerLocked()
		return time.Time{}, false
	}
	ok = s.storm.allow(h.generation, time.Now().Round(0))
	return s.storm.next(), ok
}

// judge notes whether the server refused h, which a request was sent again with.
func (s *Session) judge(h *held, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storm.judge(h.generation, refused)
}

// renewed returns the generation to use in the place of h, which the server
// refused. Generations are compared, not tokens: a late 401 must not start a
// second refresh. A request that began before a logout is not sent again with the
// token of whoever logged in after it.
func (s *Session) renewed(ctx context.Context, h *held) (*held, error) {
	var next *held
	var err error
	if s.held.Load().generation == h.generation {
		next, err = s.refreshed(ctx, h, false)
	} else {
		next, err = s.current(ctx)
	}
	if err == nil && next.logouts != h.logouts {
		return nil, ErrLoggedOut
	}
	return next, err
}

// errFenced is the result of a flight that a login or logout has overtaken, and of
// others that say nothing to those who need a token: they look again.
var errFenced = errors.New("tokenclient: refresh overtaken")

// errNotTried is the result of a flight that did not try, for the reason in Unwrap.
type errNotTried struct{ error }

func (e errNotTried) Unwrap() error { return e.error }

// refreshed waits for the one refresh that replaces h. It leaves with ctx, and
// the refresh goes on without it. With force the refresh is tried even shortly
// after one that failed.
func (s *Session) refreshed(ctx context.Context, h *held, force bool) (*held, error) {
	if s.inside(ctx) {
		return nil, ErrReentrant
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		turned := s.turnedLocked()
		s.mu.Unlock()
		if now := s.held.Load(); now.generation != h.generation {
			return s.turnedTo(now, h)
		}
		done := s.flights.DoChan("refresh", func() (any, error) { return s.refresh(h, force) })
		select {
		case r := <-done:
			var idle errNotTried
			switch {
			case r.Err == nil:
				if next := r.Val.(*held); next.generation > h.generation {
					return next, nil
				}
				// The flight was begun for an older generation, and had nothing to do.
			case errors.Is(r.Err, errFenced):
				// held tells what it was overtaken by.
			case errors.As(r.Err, &idle):
				if !force {
					return nil, idle.error
				}
				// The flight belonged to somebody who does not force.
			default:
				return nil, r.Err
			}
		case <-turned:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// turnedTo returns what somebody who waited for a refresh of h goes on with when
// the session has turned to now.
func (s *Session) turnedTo(now, h *held) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case now.logouts != h.logouts:
		return nil, ErrLoggedOut
	case now.usable():
		return now, nil
	}
	return nil, s.endedErrLocked()
}

// refreshEarly starts a refresh that nobody waits for: h is good for a while yet.
func (s *Session) refreshEarly(h *held) {
	if !s.early.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	now := time.Now()
	waits := s.closed || s.backoff.pending(now) != nil || s.earlier.pending(now) != nil ||
		!exchangeable(s.refresher, h.record.Token)
	if !waits {
		s.running++
	}
	s.mu.Unlock()
	if waits {
		s.early.Store(false)
		return
	}
	go func() {
		defer s.finish()
		defer s.early.Store(false)
		if s.worthPresenting(h) {
			<-s.flights.DoChan("refresh", func() (any, error) { return s.refresh(h, false) })
		}
	}()
}

// refreshInBackground refreshes h, which the server refused, for those who come
// later.
func (s *Session) refreshInBackground(h *held) {
	if !s.begin() {
		return
	}
	go func() {
		defer s.finish()
		_, _ = s.refreshed(context.Background(), h, false) // every flight ends, so this does
	}()
}

// worthPresenting looks at the store before an early refresh, and takes what
// another process put there. A refresh token that somebody else may be
// presenting, or has died presenting, is left alone as long as the access token
// is good.
func (s *Session) worthPresenting(h *held) bool {
	r, err := s.load(s.lifetime)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.held.Load()
	seen := now.record
	if s.closed {
		seen = h.record // what was held when Close came
	}
	switch {
	case !s.closed && now.generation != h.generation:
		return false
	case s.closed && (err != nil || newer(r, seen)):
		return false
	case errors.Is(err, ErrNoToken):
		s.endLocked(ErrLoginRequired, false)
		return false
	case err != nil:
		s.earlier.failed(err, 0, 0, time.Now().Round(0))
		return false
	case newer(r, seen) && s.supersededLocked(r):
		s.adoptLocked(r, true)
		return false
	case newer(r, seen), r.Announced > 0: // the former: a save of ours is under way
		s.earlier.failed(errAnnounced, 0, 0, time.Now().Round(0))
		return false
	}
	return true
}

var errAnnounced = fmt.Errorf("%w: somebody else may have presented it", ErrNotPresented)

// newer reports whether r, from the store, comes after what a session holds.
func newer(r, held Record) bool { return r.Era != held.Era || r.Number > held.Number }

// exchangeable reports whether r can do anything with t, as far as is known.
func exchangeable(r Refresher, t *Token) bool {
	if t.RefreshToken != "" {
		return true
	}
	switch r := r.(type) {
	case *OAuth2Refresher:
		return false
	case *JSONRefresher:
		return r.SendAccessToken || r.Attacher != nil
	}
	return true
}

// refresh is the one refresh of everybody who waits. It runs in a flight of its
// own, under the session's lifetime and nobody's context.
func (s *Session) refresh(h *held, force bool) (*held, error) {
	if !s.begin() {
		return nil, ErrClosed
	}
	defer s.finish()

	s.mu.Lock()
	now, epoch, closed := s.held.Load(), s.epoch, s.closed
	err, failures := s.backoff.pending(time.Now()), s.backoff.failures
	unstored := s.renewals.unstored
	s.renewals.refreshing = true
	s.mu.Unlock()
	defer s.refreshEnded()
	seen := now.record
	switch {
	case closed: // an early refresh that was begun before
		seen = h.record
	case !now.usable():
		return nil, errFenced
	case now.generation != h.generation:
		return now, nil
	case err != nil && !force:
		return nil, errNotTried{err}
	}

	began := time.Now()
	var made *Token
	var tries int
	fn := func(ctx context.Context, current Record) (*Token, error) {
		tries = current.Announced
		if unstored != nil && current.Era == unstored.record.Era && current.Number == unstored.record.Number {
			current.Token = unstored.record.Token // the stored one is older
		}
		if tries > 1 && s.waiting.Load() == 0 {
			return nil, asTokenError(errAnnounced, current.Token)
		}
		t, err := s.present(ctx, epoch, current)
		made = t
		return t, err
	}
	r, err := s.exchange(s.lifetime, seen, s.timeout, fn)
	if failures == 0 && answerLost(err) {
		// Some servers answer the same again for a while, and if the request was
		// what got lost the session is saved; if it was the answer, and the
		// server is strict, the session was lost before.
		s.note(slog.LevelWarn, "answer to a refresh lost, trying once more", "err", err)
		r, err = s.exchange(s.lifetime, seen, s.timeout, fn)
	}
	r.Announced = max(r.Announced, tries)
	return s.settle(epoch, began, seen, r, err, made)
}

// exchange is Store.Refresh, whatever the Store does.
func (s *Session) exchange(ctx context.Context, seen Record, timeout time.Duration, fn func(context.Context, Record) (*Token, error)) (Record, error) {
	var r Record
	err := s.contain("Store.Refresh", func() (err error) {
		r, err = s.store.Refresh(ctx, s.key, seen, timeout, fn)
		return err
	})
	var te *TokenError
	if errors.Is(err, errBroken) && !errors.As(err, &te) {
		err = fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	return r, err
}

// answerLost reports whether err calls for one more try at once: the refresh
// token may have arrived, and no answer told what became of it. After a timeout
// the first request may still be on its way, and must not land behind a second.
func answerLost(err error) bool {
	var te *TokenError
	if !errors.As(err, &te) || !te.Temporary() || te.Timeout() || te.RetryAfter > 0 {
		return false
	}
	if te.StatusCode >= 400 && te.StatusCode < 500 {
		return false
	}
	var unsaved *NotSavedError
	return !errors.Is(err, ErrNotPresented) && !errors.Is(err, ErrReentrant) &&
		!errors.Is(err, errBroken) && !errors.As(err, &unsaved)
}

// settle brings the result of Store.Refresh into memory, unless a login or logout
// has come since epoch. made is the token that this session got from the server,
// if it did.
func (s *Session) settle(epoch uint64, began time.Time, seen, r Record, err error, made *Token) (*held, error) {
	var unsaved *NotSavedError
	if errors.As(err, &unsaved) {
		r = Record{State: Active, Token: unsaved.Token, Era: seen.Era, Number: seen.Number + 1}
		s.keepTrying(unsaved)
	}
	s.mu.Lock()
	fenced := s.epoch != epoch
	if made != nil && (errors.Is(err, ErrReplaced) || fenced && !s.held.Load().usable()) {
		// Nobody will ever use what the server has just issued.
		defer s.revokeOrphan(made)
	}
	defer s.mu.Unlock()
	switch {
	case fenced:
		return nil, errFenced
	case s.closed && err != nil && made == nil:
		return nil, ErrClosed
	case err == nil, unsaved != nil, errors.Is(err, ErrOvertaken), errors.Is(err, ErrReplaced):
		if r.State != Active || r.Token == nil {
			s.endLocked(ErrLoginRequired, false)
			return nil, ErrLoginRequired
		}
		if s.closed {
			return nil, ErrClosed
		}
		if h := s.held.Load(); h.usable() && !newer(r, h.record) {
			return h, nil // adopted while a late answer was on its way
		}
		own := made != nil && (err == nil || unsaved != nil)
		h := s.adoptLocked(r, !own)
		if own {
			s.refreshedLocked(began)
		}
		if unsaved != nil {
			s.saveFailedLocked(unsaved)
		}
		return h, nil
	case errors.Is(err, errAnnounced):
		s.earlier.failed(err, 0, 0, time.Now().Round(0))
		return nil, errFenced // somebody who needs it may have joined meanwhile, and tries again
	case errors.Is(err, ErrNoToken):
		s.endLocked(ErrLoginRequired, false)
		return nil, ErrLoginRequired
	case errors.Is(err, ErrRefused):
		s.failedLocked(began, r, err)
		s.endLocked(err, false)
		return nil, err
	}
	if errors.Is(err, ErrLoginRequired) && s.held.Load().expired(time.Now()) {
		s.endLocked(err, false)
	}
	s.failedLocked(began, r, err)
	return nil, err
}

func (s *Session) refreshedLocked(began time.Time) {
	info := s.infoLocked()
	info.Duration = time.Since(began)
	s.note(slog.LevelDebug, "token refreshed", "generation", info.Generation,
		"duration", info.Duration, "waiters", info.Waiters, "expiry", info.Expiry)
	if s.hooks.Refreshed != nil {
		s.events.post(func() { s.hooks.Refreshed(info) })
	}
}

func (s *Session) failedLocked(began time.Time, r Record, err error) {
	var te *TokenError
	var retryAfter time.Duration
	if errors.As(err, &te) {
		retryAfter = te.RetryAfter
	}
	s.backoff.failed(err, r.Announced, retryAfter, time.Now().Round(0))
	info := s.infoLocked()
	info.Duration = time.Since(began)
	s.note(slog.LevelWarn, "refresh failed", "generation", info.Generation,
		"duration", info.Duration, "waiters", info.Waiters, "err", err)
	if s.hooks.RefreshFailed != nil {
		s.events.post(func() { s.hooks.RefreshFailed(info, err) })
	}
}

// revokeOrphan tells the server to forget a token that lost to a login or logout.
func (s *Session) revokeOrphan(t *Token) {
	if err := s.revoke(context.WithoutCancel(s.lifetime), t); err != nil {
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
	err, answered := receive(ctx, s.start("Revoker.Revoke", func() error { return r.Revoke(ctx, t) }))
	if !answered {
		err = fmt.Errorf("%w: Revoker.Revoke did not return when its context ended: %w", errBroken, context.DeadlineExceeded)
	}
	if err != nil {
		return asTokenError(err, t)
	}
	return nil
}
