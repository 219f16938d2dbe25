package protocol_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// lockIt makes w one whose processes have a lock that the kernel frees at death, as those of
// a store.File do. In most, the server is promised to drop the requests of the dead.
func (w *world) lockIt() {
	rng := rand.New(rand.NewPCG(w.seed, 3))
	w.set.locks = true
	w.set.margin = w.set.timeout / 4 // what the engine takes if its Margin is 0
	if rng.Float64() < 0.8 {
		w.set.promised = time.Millisecond + time.Duration(rng.Int64N(int64(w.set.timeout/2)))
	}
	// Many die, while a slow server has their requests.
	w.set.crashes += 1 + rng.IntN(3)
	w.set.misfortune = max(w.set.misfortune, 0.1)
	w.set.misfortunes = append(w.set.misfortunes, crashed, crashed)
	w.set.slowServer = max(w.set.slowServer, 0.5)
}

// ended reports whether the requests of p have ended, by what is promised.
func (w *world) ended(p *process) bool {
	return w.set.promised > 0 && p.dead && w.now() >= p.died+w.set.promised
}

// A kernelTurn is the turn of a flight where a lock says who holds the key. It is lost by
// death alone.
type kernelTurn struct {
	p    *process
	c    *call // of the flight
	held bool

	dead  [16]byte // the claim of a dead holder that is waited for
	until time.Duration
}

func (p *process) turn(string) protocol.Turn { return &kernelTurn{p: p} }

func (t *kernelTurn) Ready(ctx context.Context, r *protocol.Record) (bool, error) {
	w := t.p.w
	t.c = callOf(ctx)
	if !t.held {
		o := &operation{call: t.c, what: "lock", ctx: ctx}
		o.start = func() {
			if w.lock == nil || w.lock.p.dead {
				w.lock, t.held = t, true
				w.end(o, nil)
				return
			}
			w.forProcess(o, 20*time.Millisecond, func() { w.end(o, nil) })
		}
		t.p.perform(o)
		return false, o.err // the record may have changed before the lock was its
	}
	if r.Lease == [16]byte{} {
		return true, ctx.Err()
	}
	over := false
	o := &operation{call: t.c, what: "outlive", ctx: ctx}
	o.start = func() {
		passed := w.now() - w.engine.wrote
		if t.dead != r.WriteID {
			t.dead, t.until = r.WriteID, w.now()+r.Outlives(passed, w.set.promised)
		}
		if over = w.now() >= t.until; over && passed < r.Hold() {
			w.count(takenOver)
			w.judge.tookOver(w.engine.by)
		}
		w.forProcess(o, min(max(t.until-w.now(), 0), 50*time.Millisecond), func() { w.end(o, nil) })
	}
	t.p.perform(o)
	return over && o.err == nil, o.err
}

// tookOver judges that the hold of c, which is not over, is taken for that of a dead process.
func (j *judge) tookOver(c *call) {
	switch q := c.sent; {
	case c.p.dead || q == nil:
	case !q.over:
		j.w.violated("P1: takes over from a holder in its call")
	case q.gaveUp != 0 && j.w.now()-q.gaveUp < j.w.set.margin:
		j.w.violated("P1: takes over from a holder that lives, and whose request may be at work")
	}
}

func (t *kernelTurn) End(lingers time.Duration) {
	if !t.held {
		return
	}
	w := t.p.w
	o := &operation{call: t.c, what: "unlock"}
	o.start = func() {
		w.after(lingers, func() {
			if w.lock == t {
				w.lock = nil
			}
		})
		w.end(o, nil)
	}
	t.p.perform(o)
}

func simulateLocks(t *testing.T, seed uint64) (w *world) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed)
		w.lockIt()
		w.plant()
		w.play()
	})
	return w
}

// TestSimulationLocks is TestSimulation with locks that the kernel frees at death, and a
// server that keeps what store.FileOptions.DeadRequestsEndWithin promises: the request of a
// process that died is carried out soon, or never. Nobody takes over from a holder that
// stands still or is cut off. So a session is lost only to an answer that is lost; to a death
// between the exchange at the server and the save; and to a holder that stood still between
// the look at its clock and the send, gave the call up at once when it went on, and whose
// request kept a slow server for longer than the margin. TestSimulationFindsBugs has a
// server that breaks the promise, a wait that counts it from the wrong moment, and a lock that
// is free while the request of a process that lives may be at work.
//
// The lock is the simulation's own; that of File, and by what it knows that a holder has
// died, is tested with real processes.
func TestSimulationLocks(t *testing.T) {
	total := simulateAll(t, 5000, simulateLocks)
	if total == nil {
		return
	}
	for _, k := range []int{crashed, frozen, lateRequest, deadDropped, takenOver} {
		if total.hit[k] == 0 {
			t.Errorf("no run had %s", faultNames[k])
		}
	}
	for why := range total.ends {
		if why != endCrashed && why != endAnswerLost && why != endGap {
			t.Errorf("a session was lost because of: %s", why)
		}
	}
}
