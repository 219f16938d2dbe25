package tokenclient

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
)

// settle ends f: it brings the result of Store.Refresh into memory, unless a login
// or logout has come since f began, and tells what f came to. made is the token that
// this session got from the server, if it did.
func (s *Session) settle(f flight, seen, r Record, err error, made *Token) (*held, error) {
	var unsaved *NotSavedError
	if errors.As(err, &unsaved) {
		r = Record{State: Active, Token: unsaved.Token, Era: seen.Era, Number: seen.Number + 1}
		s.keepTrying(unsaved)
	}
	s.mu.Lock()
	fenced := s.epoch != f.epoch
	if made != nil && (errors.Is(err, ErrReplaced) || fenced && !s.held.Load().usable()) {
		// Nobody will ever use what the server has just issued.
		defer s.revokeOrphan(made)
	}
	defer s.mu.Unlock()
	switch {
	case fenced:
		s.overtakenLocked(f, ErrReplaced)
		return nil, errFenced
	case s.closed && err != nil && made == nil:
		s.overtakenLocked(f, ErrClosed)
		return nil, ErrClosed
	case err == nil, unsaved != nil, errors.Is(err, ErrOvertaken), errors.Is(err, ErrReplaced):
		if r.State != Active || r.Token == nil {
			s.overtakenLocked(f, ErrLoginRequired)
			s.endLocked(ErrLoginRequired, false)
			return nil, ErrLoginRequired
		}
		own := made != nil && (err == nil || unsaved != nil)
		if s.closed {
			if own {
				s.refreshedLocked(f) // for those who come after this session
			} else {
				s.overtakenLocked(f, ErrClosed)
			}
			return nil, ErrClosed
		}
		if h := s.held.Load(); h.usable() && !newer(r, h.record) {
			s.overtakenLocked(f, ErrOvertaken)
			return h, nil // adopted while a late answer was on its way
		}
		h := s.adoptLocked(r, false)
		if own {
			s.refreshedLocked(f)
		} else {
			s.adoptedLocked(f)
		}
		if unsaved != nil {
			s.saveFailedLocked(unsaved)
		}
		return h, nil
	case errors.Is(err, errAnnounced):
		s.troubleLocked().earlier.Failed(err, 0, 0, time.Now())
		s.overtakenLocked(f, err)
		return nil, errFenced // somebody who needs it may have joined meanwhile, and tries again
	case errors.Is(err, ErrNoToken):
		s.overtakenLocked(f, ErrLoginRequired)
		s.endLocked(ErrLoginRequired, false)
		return nil, ErrLoginRequired
	case errors.Is(err, ErrRefused):
		s.failedLocked(f, r, err)
		s.endLocked(err, false)
		return nil, err
	}
	if errors.Is(err, ErrLoginRequired) && s.held.Load().expired(time.Now()) {
		s.endLocked(err, false)
	}
	s.failedLocked(f, r, err)
	return nil, err
}

func (s *Session) refreshedLocked(f flight) {
	info := s.infoLocked(f)
	s.note(slog.LevelDebug, "token refreshed", "generation", info.Generation, "cause", f.cause.String(),
		"duration", info.Duration, "waiters", info.Waiters, "expiry", info.Expiry)
	if s.hooks.Refreshed != nil {
		s.events.Post(func() { s.hooks.Refreshed(info) })
	}
}

// adoptedLocked tells that the session took over a token that it did not ask the
// server for. A zero f: nor was it looking for one.
func (s *Session) adoptedLocked(f flight) {
	info := s.infoLocked(f)
	s.note(slog.LevelDebug, "token adopted", "generation", info.Generation, "cause", f.cause.String(),
		"duration", info.Duration, "waiters", info.Waiters, "expiry", info.Expiry)
	if s.hooks.Adopted != nil {
		s.events.Post(func() { s.hooks.Adopted(info) })
	}
}

// overtakenLocked tells that f came to nothing, and that it was no failure.
func (s *Session) overtakenLocked(f flight, err error) {
	info := s.infoLocked(f)
	s.note(slog.LevelDebug, "refresh overtaken", "generation", info.Generation, "cause", f.cause.String(),
		"duration", info.Duration, "waiters", info.Waiters, "err", err)
	if s.hooks.RefreshOvertaken != nil {
		s.events.Post(func() { s.hooks.RefreshOvertaken(info, err) })
	}
}

func (s *Session) failedLocked(f flight, r Record, err error) {
	var te *TokenError
	var retryAfter time.Duration
	if errors.As(err, &te) {
		retryAfter = te.RetryAfter
	}
	s.troubleLocked().backoff.Failed(err, r.Announced, retryAfter, time.Now())
	info := s.infoLocked(f)
	s.note(slog.LevelWarn, "refresh failed", "generation", info.Generation, "cause", f.cause.String(),
		"duration", info.Duration, "waiters", info.Waiters, "err", err)
	if s.hooks.RefreshFailed != nil {
		s.events.Post(func() { s.hooks.RefreshFailed(info, err) })
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
