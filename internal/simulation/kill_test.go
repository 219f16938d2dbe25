package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// A moment is when a process is killed: what it does with its network and its store takes
// milliseconds, and by chance alone it would nearly never be killed in between.
type moment int

const (
	anyTime        moment = iota
	whenPresenting        // a refresh token has left
	whenHeard             // a pair has come, and is in no store yet
	whenWriting           // something is on its way to the store: a claim, a pair, a login, a logout
	killMoments
	whenWritten = killMoments // the store has said that it is there
	moments     = killMoments + 1
)

func (m moment) String() string {
	return []string{"", " soon after it presents a refresh token", " soon after it hears of a pair", " soon after it writes to the store", " soon after the store has it"}[m]
}

// reach is how long after its moment a process may live.
var reach = [moments]time.Duration{0, 150 * time.Millisecond, 300 * time.Millisecond, 20 * time.Millisecond, 0}

// drawKills draws which processes are killed. It has a chance of its own, so that the rest of
// the plan does not depend on it. What a session keeps in memory, or a store.Memory, which is
// in one process with all its sessions, ends with the process: then it is rare.
func drawKills(seed uint64, s *settings) (steps []step) {
	rng := rand.New(rand.NewPCG(seed, 11))
	share := 0.5
	switch {
	case s.inMemory():
		share = 0.1
	case s.store == storeFile: // of these there are few
		share = 1
	}
	if rng.Float64() >= share {
		return nil
	}
	for range 1 + rng.IntN(3) {
		steps = append(steps, step{
			kind: kill, at: time.Second + time.Duration(rng.Int64N(int64(s.horizon))), proc: rng.IntN(s.processes),
			user: users[0], moment: moment(rng.IntN(int(killMoments))), lasts: time.Duration(rng.Int64N(int64(8 * time.Second))),
		})
		if last := &steps[len(steps)-1]; s.store == storeFile && last.moment == whenWriting { // which takes no time there
			last.moment, last.lasts = whenPresenting, last.lasts/8
		}
	}
	return steps
}

var errKilled = errors.New("the process was killed")

type processKey struct{}

// bound returns ctx as that of an operation of p, which ends when p is killed.
func (p *process) bound(ctx context.Context) context.Context {
	return context.WithValue(ctx, processKey{}, p)
}

// processOf returns whose operation ctx is of; nil: that of the world.
func processOf(ctx context.Context) *process {
	p, _ := ctx.Value(processKey{}).(*process)
	return p
}

// tell has the scheduler call f, and waits until it has. Of what was killed nobody is told.
func (p *process) tell(key string, f func()) {
	_ = p.w.perform(p.bound(context.Background()), key, nil, func(o *operation) {
		f()
		p.w.end(o, nil)
	})
}

// A line is the network for a process that may be killed.
type line struct{ p *process }

// RoundTrip is http.RoundTripper.
func (l line) RoundTrip(req *http.Request) (*http.Response, error) {
	return wire(l).RoundTrip(req.WithContext(l.p.bound(req.Context())))
}

// condemn has p killed, or stand still, now or at the next moment of that kind.
func (p *process) condemn(st *step) {
	if st.moment == anyTime {
		p.suffers(st)
		return
	}
	p.doom[st.kind] = st
}

func (p *process) suffers(st *step) {
	if st.kind == kill {
		p.kill(st)
	} else {
		p.standsStill(st)
	}
}

// meets notes a moment of p. What stands still does so at once, unless it waits for an answer:
// what it does with one takes no time.
func (p *process) meets(m moment) {
	for _, kind := range []stepKind{stand, kill} {
		st := p.doom[kind]
		if st == nil || st.moment != m || p.w.quiet {
			continue
		}
		delete(p.doom, kind)
		after := time.Duration(0)
		if kind == kill || m == whenPresenting {
			u := p.w.plan.unit(fmt.Sprintf("%s %d", map[bool]string{true: "kill", false: "stand"}[kind == kill], st.n)) // often at once
			after = time.Duration(float64(reach[m]) * math.Pow(u, 3))
		}
		p.w.after(after, func() { p.suffers(st) })
	}
}

// kill ends p in the middle of what it does. What has left it is on its way; nothing leaves it
// any more, and its goroutines run into errors only. After a while it is started again.
func (p *process) kill(st *step) {
	w := p.w
	if p.dead.Load() || w.over() {
		return
	}
	w.met["killed"+st.moment.String()]++
	together := []*process{p}
	if w.plan.set.inMemory() {
		together = slices.Clone(w.procs)
		w.judge.forgetsAll()
		w.met["killed with all that it kept in memory"]++
	}
	for _, p := range together {
		if !p.dead.Load() { // else it is started again soon
			p.dies(st)
		}
	}
}

// dies is kill, of one process.
func (p *process) dies(st *step) {
	w := p.w
	w.note(p.name(), "IS KILLED")
	p.dead.Store(true)
	w.judge.dies(p)
	w.asTheyAre(func() {
		for _, o := range slices.Clone(p.open) {
			w.end(o, errKilled)
		}
		w.spawn(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.close(ctx)
		})
	})
	w.after(st.lasts, func() {
		if w.over() {
			return
		}
		next := newProcess(w, p.id)
		next.closed = w.now()
		next.storeDown, next.storeTrouble, next.storeFault = p.storeDown, p.storeTrouble, p.storeFault
		w.procs[p.id] = next
		w.note(p.name(), "is started again")
	})
}

// inMemory reports whether tokens end with the process.
func (s *settings) inMemory() bool { return s.store == storeNone || s.store == storeMemory }

// forgetsAll notes that the process ends that kept everything in memory: nobody is logged in.
func (j *judge) forgetsAll() {
	j.memory = new(store.Memory)
	for _, a := range j.accounts {
		a.ends = append(a.ends, j.w.now())
	}
	for _, f := range j.w.server.families {
		f.forgotten = true
	}
}

const becauseKilled = "its process was killed"

// writeTime is how long it takes at most to store a pair, if nothing is wrong with the store.
const writeTime = 100 * time.Millisecond

// dies notes that p is no more, and what is lost with it: answers that it has not heard, and
// pairs that it had no time to store.
func (j *judge) dies(p *process) {
	for c := range p.calls {
		if c.step.kind == logout {
			j.account(c).leaving--
			for _, f := range j.w.server.families { // what it has sent may arrive yet
				f.byUser = f.byUser || f.user == c.user
			}
		}
	}
	for _, q := range j.shown {
		switch {
		case q.p != p, q.pair == nil:
		case !q.over:
			q.ends(j.w)
			q.why, q.killed = becauseKilled, true
			j.w.met["killed before the answer was heard"]++
		case q.why == "" && q.result != nil && !q.access.saved && (p.ran(q.overAt) <= writeTime || p.storeTrouble > q.overAt):
			q.why, q.killed = becauseKilled, true
			j.w.met["killed before a pair was stored"]++
		}
	}
}

// afterKill judges that a refresh token is presented again whose presentation before ended with
// its process.
func (j *judge) afterKill(q, before *presentation) {
	w, ago := j.w, j.w.now()-before.sent
	switch {
	case ago < refreshTimeout:
		w.violated("one refresh", "%s is presented %v after a process that was killed has presented it, and the server may be at work on that", q.pair, ago)
	case before.result != nil && before.access.saved && !w.plan.set.keepsToken:
		w.violated("no spent token", "%s is presented again, and a process that was killed has stored what came of it", q.pair)
	}
}
