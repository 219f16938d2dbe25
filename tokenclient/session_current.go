package tokenclient

import (
	"context"
	"errors"
	"hash/fnv"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// current returns the generation to send a request with. With a token that is not
// about to expire it waits for no lock and does no I/O.
func (s *Session) current(ctx context.Context) (*held, error) {
	h, err := s.asItIs(ctx)
	if err == nil && h.expires() {
		if now := time.Now(); !now.Before(h.soft()) {
			return s.inTime(ctx, h, now)
		}
	}
	return h, err
}

// unrefused is current for those who do not say what they send with it, nor whether they can
// send it again.
func (s *Session) unrefused(ctx context.Context) (*held, error) {
	refused := s.refused.Load()
	h, err := s.current(ctx)
	if err == nil && uint32(h.generation) == refused {
		return s.afterRefusal(ctx, h, place{}, false)
	}
	return h, err
}

// afterRefusal returns what to send a request to at with, if h is of the generation that
// s.refused was before h was looked for (later it may be forgotten already). It waits for the
// refresh if the request is likely to be refused too, or cannot be sent again if it is. If
// there is no other token in the end, h is better than an error.
func (s *Session) afterRefusal(ctx context.Context, h *held, at place, replayable bool) (*held, error) {
	waits := false
	s.ask(func(st *state, _ time.Time) { waits = st.waits(h, at, replayable) })
	if !waits {
		return s.current(ctx) // h, unless it was refreshed meanwhile
	}
	next, err := s.refreshed(ctx, h, CauseRejected)
	if err != nil && ctx.Err() == nil {
		return s.current(ctx) // h, unless there was a login or logout
	}
	return next, err
}

// accepted is the generation that a server accepted last, and which server was the first to do
// so: the end of the number and a hash of the origin, in few bytes. A server that has
// accepted a token does not refuse it because it does not know it yet.
type accepted struct{ number atomic.Uint32 }

func (a *accepted) knows(h *held) bool { return uint16(a.number.Load()>>16) == uint16(h.generation) }

func (a *accepted) set(h *held, server string) { a.number.Store(numberOf(h, server)) }

func (a *accepted) at(h *held, server string) bool { return a.number.Load() == numberOf(h, server) }

func numberOf(h *held, server string) uint32 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(server))
	return uint32(h.generation)<<16 | uint32(uint16(sum.Sum32()))
}

// answered notes that resp, which does not refuse h, came from u.
func (s *Session) answered(h *held, u *url.URL, resp *http.Response) {
	if !s.accepted.knows(h) && resp.StatusCode < 400 && s.holds().generation == h.generation {
		s.accepted.set(h, origin.Of(u).String())
	}
}

// isYoung reports whether a server that refuses h may not know it yet.
func (s *Session) isYoung(h *held) (young bool) {
	s.ask(func(st *state, now time.Time) {
		young = st.held.generation == h.generation && st.held.usable() && st.young(now)
	})
	return young
}

// awaitLag waits until it is time to send a request to server again with h, which it refused,
// or until there is no point in that: it knows h, and refuses it. canTry says whether the
// request can be sent more than twice. A request that has a deadline waits for half of what
// is left, for there may be a refresh to wait for yet.
func (s *Session) awaitLag(ctx context.Context, h *held, server string, canTry bool) (a limit.LagAnswer, err error) {
	patience := time.Now().Add(time.Hour)
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Now().Add(time.Until(deadline) / 2)
	}
	for {
		var until time.Time
		var changed <-chan struct{}
		accepted := s.accepted.at(h, server)
		s.ask(func(st *state, now time.Time) { a, until, changed = st.askLag(h, server, canTry, accepted, now) })
		switch {
		case a != limit.LagWait:
			return a, nil
		case !time.Now().Before(patience):
			return limit.LagOver, nil
		case patience.Before(until):
			until = patience
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return limit.LagOver, ctx.Err()
		}
		timer.Stop()
	}
}

// triedLag notes what came of a try that awaitLag asked for.
func (s *Session) triedLag(h *held, server string, r limit.LagResult) {
	s.change(func(st *state, _ time.Time) (fx effects) {
		st.triedLag(h, server, r)
		return fx
	})
}

// inTime is current for a token h that expires soon or has expired.
func (s *Session) inTime(ctx context.Context, h *held, now time.Time) (*held, error) {
	switch overdue := h.overdue(now); {
	case overdue && s.serverRenews(h):
		// Whether the token still works is for the server to say; but another process
		// may have been sent a newer one.
		s.lookForNewer(ctx)
		return s.asItIs(ctx)
	case s.refresher == nil:
		return h, nil
	case !overdue:
		s.refreshEarly(h, CauseSoft)
		return h, nil
	}
	next, err := s.refreshed(ctx, h, CauseHard)
	if err != nil && ctx.Err() == nil && s.holds().generation == h.generation && !h.expired(time.Now()) {
		return h, nil // a token that the server still takes is better than an error
	}
	return next, err
}

// asItIs returns what the session holds, after a look at the store if that is
// nothing.
func (s *Session) asItIs(ctx context.Context) (*held, error) {
	h := s.holds()
	for !h.usable() {
		if err := s.look(ctx); err != nil {
			return nil, err
		}
		h = s.holds()
	}
	return h, nil
}

// look makes a session without a token look whether its store has one by now: a login in
// another process, or the first request of this one. Everybody looks together, at most once
// per lookInterval. A nil error means that held changed.
func (s *Session) look(ctx context.Context) error {
	s.released.Watch()
	defer s.released.Unwatch()
	released := s.released.Sent()
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
	select {
	case r := <-s.flights.DoChan("look", func() (any, error) { return nil, s.lookTogether() }):
		return r.Err
	case <-released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
// empty token on, all is as with any other.
func (s *Session) startEmpty(fence uint64, absent Record, err error) (Record, error) {
	if _, part := s.store.(*partStore); part || !canRefresh(s.refresher, new(Token)) {
		return absent, err
	}
	ctx := s.lifetime()
	if err := s.takeLogin(ctx); err != nil {
		return Record{}, err
	}
	defer s.loginLock.Leave()
	may := false
	s.ask(func(st *state, _ time.Time) { may = st.mayStartEmpty(fence) })
	if !may {
		return absent, err
	}
	r, was, err := s.replace(ctx, &Token{Issued: time.Now().Round(0)})
	says := func(t *Token) bool { return t != nil && (t.AccessToken != "" || t.RefreshToken != "") }
	ours := r.State == Active && !says(r.Token) // else somebody came later still
	if err != nil || !ours || was.State != LoggedOut && !says(was.Token) {
		return r, err
	}
	// Another process has logged in or out since the look. That is put back: nobody may log in
	// again because this session can do without.
	if r, _, err = s.replace(ctx, was.Token); err == nil && !r.holdsToken() {
		err = ErrNoToken
	}
	return r, err
}

// lookForNewer waits for a look at the store, at most one per lookInterval, of a session that
// has a token but cannot refresh it. It changes what is held, or nothing.
func (s *Session) lookForNewer(ctx context.Context) {
	s.released.Watch()
	defer s.released.Unwatch()
	released := s.released.Sent()
	if s.inside(ctx) || !s.mayLookForNewer() {
		return
	}
	select {
	case <-s.flights.DoChan("newer", s.takeNewer):
	case <-released:
	case <-ctx.Done():
	}
}

// lookForNewerSoon is lookForNewer for those who come later.
func (s *Session) lookForNewerSoon() {
	if s.mayLookForNewer() {
		s.inBackground(func() { <-s.flights.DoChan("newer", s.takeNewer) })
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
	s.ask(func(st *state, _ time.Time) { fence = st.fence })
	return fence
}
