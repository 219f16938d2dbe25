package tokenclient

import (
	"context"
	"fmt"
	"slices"
	"time"
)

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
		now := time.Now().Round(0)
		list, step := p.comingDue(now, recent)
		end := now.Add(step)
		for {
			now = time.Now().Round(0)
			for len(list) > 0 && !now.Before(list[0].at) {
				if d := list[0]; d.session.held.Load() == d.held {
					d.session.refreshEarly(d.held, CauseTimer)
				}
				list = list[1:]
			}
			wait := end.Sub(now)
			if wait <= 0 {
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
		if s == nil || s.refresher == nil || ticks > 0 && tick-e.used.Load() > 2*ticks+1 {
			continue
		}
		h := s.holds()
		if !h.usable() || !h.expires() && s.heartbeat == 0 {
			continue
		}
		at := s.due(h)
		step = min(step, max(at.Sub(h.record.Token.Issued)/8, time.Second))
		if at.Before(now.Add(keepFreshStep)) {
			list = append(list, dueRefresh{at, s, h})
		}
	}
	list = slices.DeleteFunc(list, func(d dueRefresh) bool { return d.at.After(now.Add(step)) })
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
