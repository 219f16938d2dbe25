package tokenclient

import (
	"context"
	"errors"
	"time"
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

// inTime is current for a token h that expires soon or has expired.
func (s *Session) inTime(ctx context.Context, h *held, now time.Time) (*held, error) {
	switch overdue := h.overdue(now); {
	case s.refresher == nil && overdue:
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
	s.released.watch()
	defer s.released.unwatch()
	released := s.released.sent()
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
	if err := s.loginLock.take(ctx, s); err != nil {
		return Record{}, err
	}
	defer s.loginLock.leave()
	may := false
	s.ask(func(st *state, _ time.Time) { may = st.mayStartEmpty(fence) })
	if !may {
		return absent, err
	}
	r, was, err := s.replace(ctx, &Token{Issued: time.Now().Round(0)})
	wrote := was.State == LoggedOut || was.Token != nil && (was.Token.AccessToken != "" || was.Token.RefreshToken != "")
	if err != nil || !wrote {
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
	s.released.watch()
	defer s.released.unwatch()
	released := s.released.sent()
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
