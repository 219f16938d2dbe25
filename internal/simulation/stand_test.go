package simulation_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// A process may stand still: it is stopped, or its machine sleeps. The world goes on meanwhile,
// and so does the time of day that the process finds when it goes on. In a bubble nobody can
// keep a goroutine from running. So what stands still is all that a process has to do with the
// world: what it sends and writes leaves when it goes on, and what comes for it waits until
// then. Its goroutines and timers do run in between, and are cut off from everything. That is
// as if the process were let run for a moment whenever a timer is due, and so it is a history
// that there may be; but timers do not run out late, and all at once. A context that ends
// meanwhile takes the answer that waits, if there is one, as those of internal/awake would; if
// nothing has left yet, nothing does, or it does when the process goes on, by chance: what had
// been on its way to the network cannot be taken back.
//
// Sessions over a store.Memory are all in one process, and stand still together.

// lengths are how long a process stands still: less than a hold lasts, more, and more than many
// access tokens live.
var lengths = [][2]time.Duration{
	{100 * time.Millisecond, 3500 * time.Millisecond},
	{4 * time.Second, 12 * time.Second},
	{12 * time.Second, time.Minute},
}

// drawStands draws when processes stand still, by a chance of its own.
func drawStands(seed uint64, s *settings) (steps []step) {
	rng := rand.New(rand.NewPCG(seed, 15))
	if rng.Float64() < 0.7 {
		return nil
	}
	for range 1 + rng.IntN(3) {
		length := lengths[rng.IntN(len(lengths))]
		steps = append(steps, step{
			kind: stand, at: time.Second + time.Duration(rng.Int64N(int64(s.horizon))), proc: rng.IntN(s.processes), user: users[0],
			moment: standMoments[rng.IntN(len(standMoments))], lasts: length[0] + time.Duration(rng.Int64N(int64(length[1]-length[0]))),
		})
	}
	return steps
}

var standMoments = []moment{anyTime, whenPresenting, whenHeard, whenWriting, whenWritten}

// stands reports whether a process stands still in the history.
func (p *plan) stands() bool {
	return slices.ContainsFunc(p.steps, func(st *step) bool { return st.kind == stand })
}

// standsStill has p stand still for a while.
func (p *process) standsStill(st *step) {
	w := p.w
	if p.dead.Load() || w.quiet || w.over() || w.now() < p.still {
		return
	}
	together := []*process{p}
	if w.plan.set.store == storeMemory {
		together = w.procs
	}
	w.met["stands still"+st.moment.String()]++
	for _, p := range together {
		w.note(p.name(), "STANDS STILL for %v", st.lasts.Round(time.Millisecond))
		p.still = w.now() + st.lasts
		p.stands = append(p.stands, [2]time.Duration{w.now(), p.still})
		w.after(st.lasts, func() { w.note(p.name(), "goes on") })
	}
}

// stoodSince reports whether p has stood still since some time, or does.
func (p *process) stoodSince(at time.Duration) bool { return p.stoodTimes(at) > 0 }

// stoodTimes is how often p has stood still since some time.
func (p *process) stoodTimes(since time.Duration) (n int) {
	for _, s := range p.stands {
		if s[1] > since {
			n++
		}
	}
	return n
}

// ran is for how long p has run since some time.
func (p *process) ran(since time.Duration) time.Duration {
	now := p.w.now()
	d := now - since
	for _, s := range p.stands {
		d -= max(0, min(s[1], now)-max(s[0], since))
	}
	return d
}

// leaves lets an operation begin: now, or when its process goes on.
func (w *world) leaves(o *operation) {
	late := o.over
	switch {
	case late && !o.late: // its process was killed, or it waits no longer
	case o.p != nil && w.now() < o.p.still:
		o.held = true
		w.after(o.p.still-w.now(), func() { w.leaves(o) })
	default:
		o.held = false
		o.start(o)
		if late && o.gone != nil {
			o.gone()
		}
	}
}

// hears does what happens when the process of o hears of it: now, or when it goes on.
func (w *world) hears(o *operation, do func()) {
	if o.over || o.p == nil || w.now() >= o.p.still {
		do()
		return
	}
	o.answer = do
	w.met["an answer finds a process that stands still"]++
	w.after(o.p.still-w.now(), func() { w.getsThrough(o) })
}

// hearsAfter is hears, after a time on the way.
func (w *world) hearsAfter(d time.Duration, o *operation, do func()) {
	w.after(d, func() { w.hears(o, do) })
}

// getsThrough delivers the answer that waits for o.
func (w *world) getsThrough(o *operation) {
	if do := o.answer; do != nil {
		o.answer = nil
		do()
	}
}

// leaving ends an operation whose context has ended.
func (w *world) leaving(o *operation) {
	switch {
	case o.over:
		return
	case o.answer != nil:
		o.p.keptBack = o.p.still // it may want to go on with that context, as it can with one of internal/awake
		w.getsThrough(o)
		return
	case o.held:
		w.met["nothing leaves a process in time that stands still"]++
		w.judge.held(o)
		o.late = (o.store || o.gone != nil) && w.plan.unit("late "+o.key) < 0.5
	}
	if o.gone != nil {
		o.gone()
	}
	w.end(o, o.ctx.Err())
}

// held notes that what its process wanted to send or write was kept until it was too late.
func (j *judge) held(o *operation) {
	p := o.p
	p.keptBack = p.still // its session may hear of that only then
	if o.store {
		p.storeTrouble, p.storeFault = p.still+patience, true
	}
}

// A claim is what a process has written down before it presents a refresh token.
type claim struct {
	issued, at time.Duration // when its process began to write it down, and when it was there
	lasts      time.Duration
	heard      time.Duration // when the process heard that; 0: not yet
}

// claimIn notes what a process has written to the engine, which it began to at some time; nil: that is no claim.
func (j *judge) claimIn(p *process, key string, raw []byte, issued time.Duration) *claim {
	if !j.w.plan.stands() {
		return nil
	}
	r, err := protocol.DecodeRecord(raw)
	if err != nil || r.Lease == [16]byte{} {
		return nil
	}
	c := &claim{issued: issued, at: j.w.now(), lasts: r.LeaseLen}
	p.claimed[key] = c
	return c
}

// isHeard notes that p hears that c is written down. c may be nil.
func (c *claim) isHeard(p *process) {
	if c != nil {
		c.heard = p.w.now()
	}
}

// claimOf returns the last claim of p on the token of a user; nil: that is not known.
func (p *process) claimOf(user string) *claim {
	if len(p.claimed) == 0 {
		return nil
	}
	key := sha256.Sum256([]byte(user)) // see store.KV
	return p.claimed[hex.EncodeToString(key[:])]
}

// outlasted reports whether the process of q has stood still for so long, since it heard that it had
// written down that it would present it, that others need not wait for what comes of it any more.
// Nothing can prevent that: who takes a token over cannot tell whether somebody stands still or
// has died. But before it presents the token it must look at its clock: what was not written down
// quickly does not count.
func (j *judge) outlasted(q *presentation) bool {
	c := q.claim
	return c != nil && c.heard > 0 && c.heard-c.issued <= c.lasts-refreshTimeout-time.Second && j.w.now() >= c.at+c.lasts && q.p.stoodSince(c.heard)
}
