package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

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
		s.troubleLocked().earlier.failed(err, 0, 0, time.Now().Round(0))
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
	s.troubleLocked().backoff.failed(err, r.Announced, retryAfter, time.Now().Round(0))
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
	if err := s.revoke(s.insideContext(), t); err != nil {
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
