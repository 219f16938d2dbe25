package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

var _ host = (*Pool)(nil)

// A lineID says whose refreshes wait in line for each other: those of a token endpoint, or of
// what there is instead of its address.
type lineID struct {
	origin origin.Origin // zero: unknown
	code   any           // of the Refresher, if so: it probably has an endpoint of its own
}

// lineOf returns where s waits. Refreshers of one type, and closures of one function, wait
// together if their endpoint is not known: there may be one for each user.
func lineOf(s *Session) lineID {
	o, r := s.config().endpoint()
	switch f := r.(type) {
	case nil:
		return lineID{origin: o}
	case RefresherFunc:
		return lineID{code: reflect.ValueOf(f).Pointer()}
	}
	if o == (origin.Origin{}) {
		return lineID{code: reflect.TypeOf(r)}
	}
	return lineID{origin: o}
}

// insideTurn marks the contexts of Refreshers whose session has a turn.
type insideTurn struct{}

// errTurnLost makes the Store take the announcement back.
var errTurnLost = fmt.Errorf("%w: its turn was over before the store let it", ErrNotPresented)

// inTurn is that of a [host]. The turn is taken before the Store is asked for the hold
// on the key, because with the hold the presentation is announced and must follow at
// once. But the hold may be with another process, or with one that was killed, for as
// long as half a minute: by then the turn is lost.
func (p *Pool) inTurn(ctx context.Context, s *Session, again bool, fn presentFunc, exchange func(presentFunc) (Record, error)) (r Record, err error) {
	noTurn := p.lines.Do(ctx, lineOf(s), s, again, func(t *turns.Turn[lineID, *Session]) {
		r, err = exchange(func(ctx context.Context, current Record) (made *Token, err error) {
			if !t.Begin() {
				return nil, asTokenError(errTurnLost, current.Token)
			}
			defer func() { t.End(outcome(err)) }()
			return fn(context.WithValue(ctx, insideTurn{}, true), current)
		})
	})
	if noTurn != nil {
		return Record{}, errNoTurn
	}
	return r, err
}

// outcome is what the end of a presentation says about the token endpoint.
func outcome(err error) turns.Outcome {
	var te *TokenError
	switch {
	case err == nil:
		return turns.Outcome{Answer: turns.Served}
	case errors.Is(err, ErrAnnounced), !errors.As(err, &te): // the former asked nobody
		return turns.Outcome{}
	}
	o := turns.Outcome{RetryAfter: te.RetryAfter}
	switch status := te.StatusCode; {
	case status == http.StatusTooManyRequests:
		o.Answer = turns.TooMany
	case status >= 400 && status < 500:
		o.Answer = turns.Served
	case status == 0, status >= 500:
		o.Answer = turns.Down
	}
	return o
}

// hurry is that of a [host]: they could be waiting for each other.
func (p *Pool) hurry(ctx context.Context, s *Session) (done func()) {
	if ctx.Value(insideTurn{}) == nil {
		return func() {}
	}
	return p.lines.Hurry(lineOf(s), s)
}

// whenRoom is that of a [host].
func (p *Pool) whenRoom(s *Session, left time.Duration, start func() bool) {
	p.lines.WhenRoom(lineOf(s), left, start)
}

// A host is what a session lives in, with others that may refresh at the same token
// endpoint, or [alone]. The session tells it what it is about to do and what has become of
// it, and holds no lock meanwhile.
type host interface {
	// inTurn calls exchange when it is s's turn to present a token, and ahead of others if
	// this is the second try of the same refresh. exchange hands the Store what it gets,
	// which is fn and keeps to the turn, and is called again if the turn was over before
	// it came to fn. The error is errNoTurn if there is no turn before ctx ends.
	inTurn(ctx context.Context, s *Session, again bool, fn presentFunc, exchange func(presentFunc) (Record, error)) (Record, error)

	// hurry keeps s from waiting for its turn until done is called, if ctx is that of
	// another session's presentation: that has a turn, and is about to wait for s.
	hurry(ctx context.Context, s *Session) (done func())

	// whenRoom calls start when there is room for an early refresh of s, for which left is
	// the time that is left. start returns at once, and reports whether there is a refresh.
	whenRoom(s *Session, left time.Duration, start func() bool)

	// changed says that there was a login, a logout, or the end of s.
	changed(s *Session)
}

// errNoTurn is the result of a refresh that was not begun because its session is closed, or
// its host.
var errNoTurn = fmt.Errorf("%w: no turn to refresh", ErrClosed)

// alone is the host of a session that shares nothing.
type alone struct{}

func (alone) inTurn(_ context.Context, _ *Session, _ bool, fn presentFunc, exchange func(presentFunc) (Record, error)) (Record, error) {
	return exchange(fn)
}

func (alone) hurry(context.Context, *Session) (done func()) { return func() {} }

func (alone) whenRoom(_ *Session, _ time.Duration, start func() bool) { start() }

func (alone) changed(*Session) {}

// A presentFunc is what a [Store] calls in Refresh.
type presentFunc = func(ctx context.Context, current Record) (*Token, error)

// dueStep is the shortest time between two looks at who is due.
const dueStep = 10 * time.Millisecond

// KeepFresh refreshes the tokens of sessions that are loaded in time, before
// requests have to ask for it, as [Session.KeepFresh] does for one: spread out, and
// after those refreshes that requests wait for. With recent more than 0 it leaves out
// sessions that nobody has used for that long, give or take an eighth of
// PoolConfig.IdleFor; with 0 it takes all. It is no use of a session: those that
// nobody uses are forgotten all the same, and then no longer refreshed.
//
// It leaves out tokens whose expiry is unknown, unless there is a Config.Heartbeat,
// and sessions without a Config.Refresher. It runs until ctx ends, and then returns
// nil, or until the Pool is closed, and then returns ErrClosed.
func (p *Pool) KeepFresh(ctx context.Context, recent time.Duration) error {
	if recent < 0 {
		return fmt.Errorf("tokenclient: Pool.KeepFresh of a negative time: %v", recent)
	}
	if p.lifetime.Err() != nil {
		return ErrClosed
	}
	for {
		now := time.Now()
		list, step := p.comingDue(now, recent)
		end := now.Add(step)
		for {
			now = time.Now().Round(0)
			for len(list) > 0 && !now.Before(list[0].at) {
				if d := list[0]; d.session.holds() == d.held {
					d.session.refreshEarly(d.held, CauseTimer)
				}
				list = list[1:]
			}
			wait := limit.Remaining(end, now, step)
			if wait == 0 {
				break
			}
			if len(list) > 0 {
				wait = max(min(wait, list[0].at.Sub(now)), dueStep)
			}
			if err := p.sleep(ctx, wait); ctx.Err() != nil {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

// A dueRefresh is when the token that a session holds is to be refreshed.
type dueRefresh struct {
	at      time.Time
	session *Session
	held    *held
}

// comingDue returns what is to be refreshed within the next step, in order of time.
// A step is short beside the shortest time for which a token stays fresh.
func (p *Pool) comingDue(now time.Time, recent time.Duration) (list []dueRefresh, step time.Duration) {
	step = keepFreshStep
	tick, ticks := p.tick.Load(), uint32(min((recent+p.period-1)/p.period, idleTicks))
	for e := range p.all() {
		s := e.session.Load()
		if s == nil || !s.config().hasRefresher() || ticks > 0 && tick-e.used.Load() > 2*ticks+1 {
			continue
		}
		h := s.holds()
		if !h.usable() || !h.expires() && s.config().beat() == 0 {
			continue
		}
		wait := s.untilDue(h, now)
		at := now.Round(0).Add(wait)
		step = min(step, max(at.Sub(h.token().Issued)/8, time.Second))
		if wait < keepFreshStep {
			list = append(list, dueRefresh{at, s, h})
		}
	}
	list = slices.DeleteFunc(list, func(d dueRefresh) bool { return d.at.After(now.Round(0).Add(step)) })
	slices.SortFunc(list, func(a, b dueRefresh) int { return a.at.Compare(b.at) })
	return list, step
}

// sleep waits for d. The error is ErrClosed if the pool was closed meanwhile.
func (p *Pool) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-p.lifetime.Done():
		return ErrClosed
	}
	return nil
}
