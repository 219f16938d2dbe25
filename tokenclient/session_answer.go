package tokenclient

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/stepup"
)

// renewedBy looks for a token in resp, which answers a request that was sent with h. resp is
// nil if there was no answer.
func (s *Session) renewedBy(resp *http.Response, h *held, sent time.Time) {
	if !s.config().findsRenewed() || resp == nil {
		return
	}
	t, ok := s.config().renewedIn(resp)
	if !ok || t == nil || !renews(t, h.token()) || !s.stillHolds(h) {
		return
	}
	t, err := complete(t, h.token(), sent)
	if err != nil {
		s.noteErr(slog.LevelDebug, "token in an answer ignored", err)
		return
	}
	keep := !s.storeless() // it would be one memory for another
	s.change(func(st *state, now time.Time) effects { return st.renewedBy(h, t, keep, now) })
	s.saveRenewedSoon()
}

// renews reports whether t is another token than the one that was sent. Some servers repeat
// that in each answer.
func renews(t, sent *Token) bool {
	return t.AccessToken != sent.AccessToken ||
		t.RefreshToken != "" && t.RefreshToken != sent.RefreshToken
}

// isYoung reports whether a server that refuses h may not know it yet, and whether that is worth
// waiting for.
func (s *Session) isYoung(h *held) (young bool) {
	if s.config().hasRefresher() {
		s.ask(func(st *state, now time.Time) { young = st.isYoung(h, now) })
	}
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
		accepted := s.acceptedAt(h, server)
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

// rejected says what follows the rejection of h by u, nil if that is unknown.
func (s *Session) rejected(h *held, u *url.URL) (v rejection) {
	at := placeOf(u)
	s.change(func(st *state, now time.Time) (fx effects) {
		v, fx = st.rejected(h, at, s.config().hasRefresher(), now)
		return fx
	})
	if v.look {
		s.lookForNewerSoon()
	}
	return v
}

// replayed notes whether the server refused h, which a request was sent again with that had
// been refused before, with v.
func (s *Session) replayed(h *held, v rejection, refused bool) {
	s.ask(func(st *state, _ time.Time) { st.replayed(h, refused, v) })
}

// steppingKey marks the contexts that a session hands to its StepUp. Its value is a *stepping.
type steppingKey struct{ whole *Session }

// A stepping is one call of StepUp, for a user who is logged in.
type stepping struct {
	user  era                 // who that is
	began *held               // of the whole session
	login atomic.Pointer[era] // that the call made; nil: none
	over  chan struct{}       // closed when it is known whether StepUp vouches for it

	logsIn atomic.Bool // it is making one
}

// gone returns why the StepUp that ctx is from, if it is, must not log in after what lastHeld
// says: since it was called there was a logout, or another login that is not known to be of
// the same user.
func (s *Session) gone(ctx context.Context, lastHeld func() (last Record, logouts uint32)) error {
	c, ok := ctx.Value(steppingKey{s.whole()}).(*stepping)
	if !ok {
		return nil
	}
	steps := s.config().steps()
	last, logouts := lastHeld()
	switch _, before := c.began.login(); {
	case logouts != before:
		return ErrLoggedOut
	case steps.pending(c.user, last.Era) != nil, steps.logins.Same(c.user, last.Era), c.began.sameSubject(last):
		return nil
	}
	return ErrReplaced
}

// logsIn notes that the StepUp which ctx is from, if it is, is about to log in. ended is to be called
// with the login that came of it; nil: none.
func (s *Session) logsIn(ctx context.Context) (ended func(e *era)) {
	c, ok := ctx.Value(steppingKey{s.whole()}).(*stepping)
	if !ok {
		return func(*era) {}
	}
	c.logsIn.Store(true) // a flight may find the login in the store before we know it
	return func(e *era) {
		if e != nil {
			c.login.Store(e)
		}
		c.logsIn.Store(false)
	}
}

// vouched returns the login that is of the same user as the one whom c was for. ok is false
// after a logout.
func (s *Session) vouched(c *stepping) (e era, ok bool) {
	e, logouts := s.whole().holds().login()
	if made := c.login.Load(); made != nil {
		e = *made
	}
	_, before := c.began.login()
	return e, logouts == before
}

// isSameUser reports whether a request that was sent with h may be sent again with next: there
// was no logout, and another login is known to be of the same user.
func (s *stepUp) isSameUser(h, next *held) bool {
	was, before := h.login()
	is, after := next.login()
	return after == before && (next.follows(h, true) == nil || s.logins.Same(was, is))
}

// begins notes that c is under way, until it ends.
func (s *stepUp) begins(c *stepping) (ends func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = make(map[*stepping]bool)
	}
	s.running[c] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, c)
		close(c.over)
	}
}

// pending returns what is closed when it is known whether the login is is of the same user as was;
// nil: that is known.
func (s *stepUp) pending(was, is era) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.running {
		busy := c.logsIn.Load() // first: login is set before it ends
		if made := c.login.Load(); (busy || made != nil && *made == is) && s.logins.Same(c.user, was) {
			return c.over
		}
	}
	return nil
}

// demandIn returns what x, what came of req, demands of whoever can step up; nil: nothing.
func (s *Session) demandIn(req *http.Request, x *lastSending) *Demand {
	if s.config().steps() == nil || x.err != nil || x.asking || req.Context().Value(steppingKey{s.whole()}) != nil {
		return nil
	}
	if d, ok := DemandOf(x.resp); ok {
		return &d
	}
	return nil
}

// stepUp has d satisfied, which a server demands that was sent h, and returns what to send
// instead. nil: nothing, and the answer stays as it is.
func (s *Session) stepUp(ctx context.Context, h *held, d Demand) (*held, error) {
	steps, whole := s.config().steps(), s.whole()
	same := d
	same.Description = "" // servers put times there, and names of requests
	user, _ := h.login()
	c := &stepping{user: user, began: whole.holds(), over: make(chan struct{})}
	if now := s.holds(); !now.usable() || !c.began.usable() || !steps.isSameUser(h, now) {
		return nil, nil // whom it would be asked of is gone
	}
	of := demanded{s, steps.logins.First(user), Demand{Origin: d.Origin}}
	err := steps.group.Do(ctx, of, demanded{of.session, of.user, same}, stepup.Asking{
		Generation: h.number(),
		Newest:     func() uint64 { return s.holds().number() },
		Start:      whole.inBackground,
		Ask: func(ctx context.Context, over func()) error {
			if err := s.askAndVouch(ctx, c, d, over); err != nil {
				return err
			}
			_, err := s.current(ctx) // of an audience, the token is still to be asked for
			return err
		},
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, stepup.ErrAsked), errors.Is(err, stepup.ErrOften):
		s.note(slog.LevelDebug, "step-up not asked for", func() []any { return []any{"origin", d.Origin, "err", err} })
		return nil, nil
	case err != nil:
		return nil, nil
	}
	next, err := s.orVouched(ctx, h, nil, errOtherLogin) // it may be that of another step-up
	switch {
	case errors.Is(err, errOtherLogin), errors.Is(err, ErrLoggedOut):
		return nil, nil // somebody else is logged in by now
	case err != nil:
		return nil, s.whose(err)
	case !next.after(h):
		return nil, nil // it did not do what it says
	}
	return next, nil
}

// askAndVouch makes the call c of StepUp, and notes the login that it vouches for. When it returns
// those who wait for that go on.
func (s *Session) askAndVouch(ctx context.Context, c *stepping, d Demand, over func()) error {
	steps := s.config().steps()
	defer steps.begins(c)()
	if err := s.whole().askToStepUp(ctx, c, d, over); err != nil {
		return err
	}
	login, ok := s.vouched(c)
	if !ok {
		return ErrLoggedOut
	}
	steps.logins.Vouch(c.user, login)
	return nil
}

// askToStepUp makes the call c of StepUp, and calls over when that has returned.
func (s *Session) askToStepUp(ctx context.Context, c *stepping, d Demand, over func()) error {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, steppingKey{s}, c))
	defer cancel()
	defer context.AfterFunc(s.lifetime(), cancel)()
	hook := s.config().steps().hook
	call := contain.Go("Config.StepUp", s.broken, func() (struct{}, error) {
		defer over()
		return struct{}{}, hook(ctx, s, d)
	})
	err := errHangs("Config.StepUp")
	if call.Wait(ctx, calleeGrace) {
		_, err = call.Result()
	}
	if err != nil {
		s.note(slog.LevelWarn, "step-up failed", func() []any { return []any{"origin", d.Origin, "err", err} })
	}
	return err
}

// saveRenewedSoon has renewed tokens stored in the background until there is none left to store.
// Those that come faster than they can be written are stored together: the newest of them.
func (s *Session) saveRenewedSoon() {
	if !s.renewalDue() || !s.takeUp(renewedSave) {
		return
	}
	s.inBackground(func() {
		var retry limit.Retry
		for s.renewalDue() && s.isOpen() { // Close makes the last attempt
			err := s.saveRenewedInFlight()
			if err == nil {
				retry = limit.Retry{}
				continue
			}
			if s.isOpen() { // else it is too early to say
				s.saveFailed(err)
			}
			s.pause(&retry)
		}
		s.layDown(renewedSave)
		if s.isOpen() {
			s.saveRenewedSoon() // what came in between
		}
	})
}

// saveRenewedInFlight runs saveRenewed under the flight name of refreshes, because a save and a
// refresh must not run at the same time: the save would get the number that the refresh wants.
// Who needs a refresh and joins a save looks again when that is over. A save that joins a
// refresh does nothing and returns nil.
func (s *Session) saveRenewedInFlight() (err *NotSavedError) {
	<-s.fly("refresh", func() (any, error) {
		if s.begin() { // else Close has made the last attempt, or is going to
			defer s.finish()
			err = s.saveRenewed(s.lifetime())
		}
		return nil, errFenced
	})
	return err
}

// saveRenewedLast is Close's attempt to store what no other has. Everything of the session's
// own has ended, unless the context of Close has.
func (s *Session) saveRenewedLast(ctx context.Context) *NotSavedError {
	ctx, cancel := s.storeTime(ctx)
	defer cancel()
	for s.renewalDue() {
		if err := s.saveRenewed(ctx); err != nil {
			return err
		}
	}
	return nil
}

// saveRenewedAgain is NotSavedError.Save of a renewed token.
func (s *Session) saveRenewedAgain(ctx context.Context) error {
	for s.isOpen() && s.renewalDue() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.saveRenewedInFlight(); err != nil {
			return err.Err
		}
	}
	if err := s.saveRenewedLast(ctx); err != nil {
		return err.Err
	}
	return nil
}

// renewalUnsaved is the error of a renewed token that is not stored because of err; nil: there is
// none.
func (s *Session) renewalUnsaved(err error) (e *NotSavedError) {
	s.ask(func(st *state, _ time.Time) {
		if _, h, due := st.saveBegins(); due {
			e = NewNotSavedError(s.name(), h.token().Clone(), err, s.saveRenewedAgain)
		}
	})
	return e
}

func (s *Session) renewalDue() (due bool) {
	s.ask(func(st *state, _ time.Time) { _, _, due = st.saveBegins() })
	return due
}

// saveRenewed tries to store the renewed token. An error says that it is to be tried again;
// without one there may be something to store all the same.
func (s *Session) saveRenewed(ctx context.Context) *NotSavedError {
	var fence uint64
	var h *held
	var due bool
	s.ask(func(st *state, _ time.Time) { fence, h, due = st.saveBegins() })
	if !due {
		return nil
	}
	seen := h.known()
	seen.Announced = 0
	if !s.config().hasRefresher() {
		seen.Announced = math.MaxUint8 // somebody else may be exchanging it; this session has no use for that pair
	}
	r, err := s.save(ctx, seen, h.token().Clone())
	s.change(func(st *state, now time.Time) (fx effects) {
		fx, err = st.saveEnds(fence, h, r, err, now)
		return fx
	})
	if err == nil {
		return nil
	}
	return NewNotSavedError(s.name(), h.token().Clone(), err, s.saveRenewedAgain)
}
