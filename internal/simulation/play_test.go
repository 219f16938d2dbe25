package simulation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// newWorld makes one of a plan.
func newWorld(p *plan, telling bool) *world {
	w := &world{plan: p, begin: time.Now(), bell: make(chan struct{}, 1), struck: map[string]string{}, counts: map[string]int{}, met: map[string]int{}, stages: map[int]int{}, abandoned: map[[16]byte]bool{}, telling: telling}
	w.server = &server{w: w, pairs: map[string]*pair{}, access: map[string]*access{}, proofs: newProofWorld(w)}
	w.judge = newJudge(w)
	if p.set.store == storeFile {
		w.makeFolder()
	}
	for id := range p.set.processes {
		w.procs = append(w.procs, newProcess(w, id))
	}
	return w
}

// play runs the history.
func (w *world) play() {
	for _, st := range w.plan.steps {
		w.after(st.at, func() { w.begins(st) })
	}
	w.after(w.plan.set.horizon+2*time.Second, func() {})
	if !w.run(func() bool { return w.now() >= w.plan.set.horizon+2*time.Second && w.idleButKeepers() || w.over() }) {
		w.violated("waiters end", "there is no end")
	}
	w.quiet = true
	if !w.over() && w.wait(backoff+10*time.Second) {
		w.finish()
	}
	w.leftovers()
}

// over reports whether something was found: then the rest is of no interest.
func (w *world) over() bool { return w.judge.found != nil }

// begins begins a step.
func (w *world) begins(st *step) {
	p := w.procs[st.proc%len(w.procs)]
	switch st.kind {
	case revokeAccess:
		w.note("server", "revokes the access tokens of %s", st.user)
		w.server.revokeAccess(st.user)
	case endSession:
		w.note("server", "ends what %s has", st.user)
		w.server.endFamilies(st.user)
	case tokenOutage:
		w.note("server", "its token endpoint is down for %v", st.lasts.Round(time.Millisecond))
		w.server.down = w.now() + st.lasts
	case apiRefuses:
		w.note("server", "its API refuses every token for %v", st.lasts)
		w.server.refuses = w.now() + st.lasts
	case storeOutage:
		if w.plan.set.store == storeShared {
			w.note(p.name(), "cannot reach the store for %v", st.lasts.Round(time.Millisecond))
			p.storeDown = w.now() + st.lasts
		}
	case rekey:
		w.rekeys(st, false)
	case kill, stand:
		p.condemn(st)
	default:
		if !p.dead.Load() {
			w.spawn(func() { w.do(p, st, false) })
		}
	}
}

// idleButKeepers reports whether nobody does anything but KeepFresh.
func (w *world) idleButKeepers() bool {
	keepers := 0
	for _, p := range w.procs {
		p.mu.Lock()
		for _, keeps := range p.keeping {
			if keeps {
				keepers++
			}
		}
		if p.pool != nil && w.plan.set.keepFresh {
			keepers++
		}
		p.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running == keepers && len(w.arrived) == 0
}

// finish has everybody make one more request when nothing goes wrong any more.
func (w *world) finish() {
	n := 900
	for id, p := range w.procs {
		for _, user := range users[:w.plan.set.users] {
			n++
			st := &step{n: n, at: w.now(), proc: id, user: user, kind: request, patience: time.Minute}
			w.spawn(func() { w.do(p, st, true) })
		}
	}
	if !w.run(w.idleButKeepers) {
		w.violated("waiters end", "there is no end")
	}
}

// leftovers closes everything, and looks for what is left.
func (w *world) leftovers() {
	for _, p := range w.procs {
		w.spawn(func() {
			err := p.close(context.Background())
			w.tell(p.name()+" closed", func() {
				if w.quiet && !w.over() {
					w.judge.closes(p, err)
				}
			})
		})
	}
	if !w.run(w.idle) {
		w.violated("waiters end", "a Close does not end")
	}
	if w.over() {
		w.wait(time.Minute)
		return
	}
	before := w.total
	if !w.wait(5*time.Minute) || w.total != before {
		w.violated("nothing left", "something is done when all is closed")
	}
	for _, p := range w.procs {
		p.mu.Lock()
		if p.openBodies != 0 {
			w.violated("nothing left", "%s has %d answers that nobody closed", p.name(), p.openBodies)
		}
		p.mu.Unlock()
	}
	for key, raw := range w.judge.engine {
		if r, err := protocol.DecodeRecord(raw); err != nil || r.Lease != [16]byte{} && !w.judge.writer[key].dead.Load() && w.judge.writer[key].keptBack == 0 && w.plan.set.storeTrouble == 0 && w.plan.set.tokenTrouble == 0 {
			w.violated("nothing left", "a hold on a record (%v)", err)
		}
	}
	if w.plan.set.store == storeFile {
		w.judgeFolder()
	}
	w.judge.readsOutput()
}

// simulate runs a plan in a bubble.
func simulate(t *testing.T, p *plan, telling bool) (w *world) {
	defer func() { w.removeFolder() }()
	defer func() {
		if r := recover(); r != nil {
			text := fmt.Sprint(r)
			if w == nil || !strings.Contains(text, "deadlock") && !strings.Contains(text, "blocked goroutines") {
				panic(r)
			}
			w.violated("nothing left", "goroutines are left: %s", text)
		}
	}()
	synctest.Test(t, func(*testing.T) {
		time.Sleep(time.Duration(mix(p.seed) % uint64(time.Second)))
		w = newWorld(p, telling)
		w.play()
	})
	return w
}
