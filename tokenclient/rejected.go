package tokenclient

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

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
	if next, ok := s.mayRenew(h, nil); !ok {
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

// mayRenew reports whether a refusal of h by u, nil if that is unknown, may lead to a
// refresh, and if not, when one may again.
func (s *Session) mayRenew(h *held, u *url.URL) (next time.Time, ok bool) {
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
	storm := s.stormLocked()
	ok, begins := storm.Allow(h.generation, time.Now())
	next = storm.Next()
	if begins {
		s.stormGuardedLocked(u, next)
	}
	return next, ok
}

func (s *Session) stormGuardedLocked(u *url.URL, until time.Time) {
	info := s.infoLocked(flight{})
	to := ""
	if u != nil {
		to = origin.Of(u).String()
	}
	s.note(slog.LevelWarn, "refreshed tokens refused too often", "generation", info.Generation,
		"origin", to, "until", until, "expiry", info.Expiry)
	if s.hooks.StormGuarded != nil {
		s.events.Post(func() { s.hooks.StormGuarded(info, until) })
	}
}

// judge notes whether the server refused h, which a request was sent again with.
func (s *Session) judge(h *held, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stormLocked().Replayed(h.generation, refused)
}

// renewed returns the generation to use in the place of h, which the server
// refused. Generations are compared, not tokens: a late 401 must not start a
// second refresh. A request that began before a logout is not sent again with the
// token of whoever logged in after it.
func (s *Session) renewed(ctx context.Context, h *held) (*held, error) {
	var next *held
	var err error
	if s.held.Load().generation == h.generation {
		next, err = s.refreshed(ctx, h, CauseRejected)
	} else {
		next, err = s.current(ctx)
	}
	if err == nil && next.logouts != h.logouts {
		return nil, ErrLoggedOut
	}
	return next, err
}

// refreshInBackground refreshes h, which the server refused, for those who come
// later.
func (s *Session) refreshInBackground(h *held) {
	if !s.begin() {
		return
	}
	go func() {
		defer s.finish()
		_, _ = s.refreshed(context.Background(), h, CauseRejected) // every flight ends, so this does
	}()
}
