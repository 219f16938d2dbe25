package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// errNoRefresher is why a session cannot do what only a Refresher can.
var errNoRefresher = errors.New("Config.Refresher is nil, and only the server renews the token")

var errStorm = errors.New("tokenclient: the server keeps refusing tokens that were just refreshed")

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
	for inAnswer := true; err == nil && inAnswer; { // a token that an answer brought meanwhile is not what was asked for
		if h, err = s.refreshed(ctx, h, CauseForced); err == nil {
			s.ask(func(st *state, _ time.Time) { inAnswer = st.renewal.last == h.generation })
		}
	}
	if errors.Is(err, errOtherLogin) {
		h, err = s.asItIs(ctx)
	}
	return s.copyOf(h, err)
}

// RefreshRejected is for protocols other than HTTP, where [Session.Do] does not fit: it
// reports that the server refused t, which [Session.Token] returned, and returns a copy of a
// token to try instead. If the session has another token by now, that is returned at once;
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
		return s.copyOf(s.foundNewer(ctx, h))
	}
	if v := s.rejected(h, nil); !v.again {
		if v.next.IsZero() {
			return nil, ErrClosed
		}
		return nil, &TokenError{RetryAfter: time.Until(v.next), Err: errStorm}
	}
	return s.copyOf(s.insteadOf(ctx, h))
}

// foundNewer returns what the store has in the place of h, which the server refused, of a
// session that cannot refresh it.
func (s *Session) foundNewer(ctx context.Context, h *held) (*held, error) {
	s.lookForNewer(ctx)
	now, err := s.asItIs(ctx)
	switch {
	case err != nil:
		return nil, err
	case now.generation == h.generation:
		return nil, fmt.Errorf("%w: the server refused the token; %w", ErrLoginRequired, errNoRefresher)
	}
	return now, now.follows(h, true)
}

// rejected says what follows the rejection of h by u, nil if that is unknown.
func (s *Session) rejected(h *held, u *url.URL) (v rejection) {
	at := placeOf(u)
	s.change(func(st *state, now time.Time) (fx effects) {
		v, fx = st.rejected(h, at, s.refresher != nil, now)
		return fx
	})
	if v.look {
		s.lookForNewerSoon()
	}
	return v
}

// placeOf returns that of u, which may be nil.
func placeOf(u *url.URL) place {
	if u == nil {
		return place{}
	}
	return place{origin.Of(u).String(), u.Path}
}

// replayed notes whether the server refused h, which a request was sent again with that had
// been refused before, with v.
func (s *Session) replayed(h *held, v rejection, refused bool) {
	s.ask(func(st *state, _ time.Time) { st.storm.Replayed(h.generation, refused, v.asked) })
}

// insteadOf returns the generation to use in the place of h, which the server refused.
// Generations are compared, not tokens: a late 401 must not start a second refresh.
func (s *Session) insteadOf(ctx context.Context, h *held) (next *held, err error) {
	if s.holds().generation == h.generation {
		next, err = s.refreshed(ctx, h, CauseRejected)
	} else {
		next, err = s.unrefused(ctx) // and it will not be sent a third time
	}
	if err == nil {
		err = next.follows(h, true)
	}
	return next, err
}

// refreshInBackground refreshes what the server refused, for those who come later. One
// goroutine does that for all: the refresh may have to wait for long.
func (s *Session) refreshInBackground() {
	if !s.refreshing.CompareAndSwap(false, true) {
		return
	}
	begun := s.inBackground(func() {
		var err error
		for h := s.holds(); err == nil && uint32(h.generation) == s.refused.Load(); h = s.holds() {
			_, err = s.refreshed(context.Background(), h, CauseRejected) // every flight ends, so this does
		}
		s.refreshing.Store(false)
		if err == nil && uint32(s.holds().generation) == s.refused.Load() {
			s.refreshInBackground() // what came in between
		}
	})
	if !begun {
		s.refreshing.Store(false)
	}
}

// refreshed waits for the one refresh that replaces h. It leaves with ctx, and the refresh
// goes on without it. One that is forced is tried even shortly after one that failed.
func (s *Session) refreshed(ctx context.Context, h *held, cause Cause) (next *held, err error) {
	if s.inside(ctx) {
		return nil, ErrReentrant
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	s.released.Watch()
	defer s.released.Unwatch()
	defer s.host.hurry(ctx, s)()
	for ctx.Err() == nil {
		released := s.released.Sent()
		if s.holds().generation != h.generation {
			s.ask(func(st *state, _ time.Time) { next, err = st.whatFollows(h, cause == CauseRejected) })
			return next, err
		}
		select {
		case r := <-s.flights.DoChan("refresh", func() (any, error) { return s.refresh(h, cause) }):
			next, _ = r.Val.(*held)
			if over, err := answers(next, r.Err, h, cause); over {
				return next, err
			}
		case <-released:
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// answers reports whether the end of a flight is what somebody waits for who needs another
// generation than h.
func answers(next *held, err error, h *held, cause Cause) (bool, error) {
	var idle errNotTried
	switch {
	case err == nil: // not enough: a flight that was begun for an older generation, whose successor is h
		return next.generation > h.generation, next.follows(h, cause == CauseRejected)
	case errors.Is(err, errFenced): // look at held again
		return false, nil
	case errors.As(err, &idle): // it was begun by somebody who respects the backoff; who forces does not
		return cause != CauseForced, idle.error
	}
	return true, err
}

// refresh is the one refresh of everybody who waits. It runs in a flight of its own, under
// the session's lifetime and nobody's context.
func (s *Session) refresh(h *held, cause Cause) (next *held, err error) {
	if !s.begin() {
		return nil, ErrClosed
	}
	defer s.finish()
	var f flight
	s.change(func(st *state, now time.Time) (fx effects) {
		f, next, fx, err = st.refreshBegins(h, cause, now)
		return fx
	})
	if next != nil || err != nil {
		return next, err
	}
	res, presented := s.exchangeWithRetry(f)
	if presented {
		defer s.work.Presented()
	}
	return s.finishRefresh(f, res)
}

// finishRefresh ends f with what it came to.
func (s *Session) finishRefresh(f flight, res result) (*held, error) {
	var e ending
	s.change(func(st *state, now time.Time) (fx effects) {
		e, fx = st.refreshEnds(f, res, now)
		return fx
	})
	if e.retry != nil {
		s.keepTrying(e.retry)
	}
	if e.orphan != nil {
		s.revokeOrphan(e.orphan)
	}
	return e.held, e.err
}

// errAbandoned is the result of a refresh that Close came before.
var errAbandoned = fmt.Errorf("%w: %w", ErrNotPresented, ErrClosed)

// exchangeWithRetry has the store let this session exchange the refresh token, and once more if the
// answer was lost. presented says whether the server may have it: Close waits then.
func (s *Session) exchangeWithRetry(f flight) (res result, presented bool) {
	tries := 0
	present := func(ctx context.Context, stored Record) (*Token, error) {
		current := f.current(stored)
		if presented = presented || s.work.MayPresent(); !presented {
			return nil, asTokenError(errAbandoned, current.Token)
		}
		if tries = current.Announced; tries > 1 && s.waiting.Load() == 0 {
			return nil, asTokenError(ErrAnnounced, current.Token)
		}
		t, err := s.present(ctx, f, current)
		res.made = t
		return t, err
	}
	lifetime := s.lifetime()
	res.record, res.err = s.exchangeInTurn(lifetime, f.seen, false, present)
	if f.fresh && answerLost(res.err) {
		// Some servers answer the same again for a while, and if the request was what got
		// lost the session is saved; if it was the answer, and the server is strict, the
		// session was lost before.
		s.note(slog.LevelWarn, "answer to a refresh lost, trying once more", "err", res.err)
		res.record, res.err = s.exchangeInTurn(lifetime, f.seen, true, present)
	}
	res.record.Announced = max(res.record.Announced, tries)
	return res, presented
}

// exchangeInTurn waits for s's turn and exchanges. again: it is the second try, which goes
// first.
func (s *Session) exchangeInTurn(lifetime context.Context, seen Record, again bool, fn presentFunc) (Record, error) {
	return s.host.inTurn(lifetime, s, again, fn, func(fn presentFunc) (Record, error) {
		return s.exchange(lifetime, seen, fn)
	})
}

// answerLost reports whether err calls for one more try at once: the refresh
// token may have arrived, and no answer told what became of it. After a timeout
// the first request may still be on its way, and must not land behind a second.
// A success that cannot be read is no lost answer: the server is done with the
// token, and has most likely spent it.
func answerLost(err error) bool {
	var te *TokenError
	if !errors.As(err, &te) || !te.Temporary() || te.Timeout() || te.RetryAfter > 0 {
		return false
	}
	if te.StatusCode >= 200 && te.StatusCode < 500 {
		return false
	}
	var unsaved *NotSavedError
	return !errors.Is(err, ErrNotPresented) && !errors.Is(err, ErrReentrant) &&
		!errors.Is(err, errBroken) && !errors.As(err, &unsaved)
}
