package simulation_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A keyPlan is the keys that processes are given, one after another: what seals and what else
// opens. A process gets the next ones at a restart, not before all have the last, and not at the
// same time as others. The last one, from which the old key is missing, it gets only when all
// records are sealed anew.
type keyPlan struct {
	name   string
	stages [][]string // none: plaintext
	blinds bool       // processes may be without a key that others seal with
}

var keyPlans = []keyPlan{
	{name: "in plaintext"},
	{name: "in plaintext"},
	oneKey,
	{name: "sealed, and all know a new key first", stages: [][]string{{"first"}, {"first", "second"}, {"second", "first"}, {"second"}}},
	{name: "sealed, with a new key at once", stages: [][]string{{"first"}, {"second", "first"}, {"second"}}, blinds: true},
}

var oneKey = keyPlan{name: "sealed", stages: [][]string{{"first"}}}

// drawKeys draws the keys of a history and when processes get new ones, by a chance of its own.
func drawKeys(seed uint64, s *settings) (steps []step) {
	rng := rand.New(rand.NewPCG(seed, 12))
	if s.store != storeShared {
		return nil
	}
	s.keys = keyPlans[rng.IntN(len(keyPlans))]
	spread := s.horizon / 8
	if s.keys.blinds {
		spread = s.horizon / 2
	}
	for stage := 1; stage < len(s.keys.stages); stage++ {
		begin := s.horizon * time.Duration(stage) / time.Duration(len(s.keys.stages)+1)
		for proc := range s.processes {
			at := begin + time.Duration(rng.Int64N(int64(spread)))
			steps = append(steps, step{kind: rekey, at: at, proc: proc, user: users[0], stage: stage})
		}
	}
	return steps
}

// rekeys gives a process the keys of a step and has it restart, as soon as that is safe.
func (w *world) rekeys(st *step, waited bool) {
	switch {
	case w.now() > w.plan.set.horizon:
	case !w.mayRekey(st):
		w.after(time.Second, func() { w.rekeys(st, false) })
	case !waited: // until what is on its way to the store is there
		w.after(5*time.Second, func() { w.rekeys(st, true) })
	default:
		w.met["a process gets other keys"]++
		p := w.procs[st.proc]
		w.mu.Lock()
		w.stages[p.id] = st.stage
		w.mu.Unlock()
		if !p.dead.Load() {
			w.spawn(func() { w.do(p, st, false) })
		}
	}
}

// mayRekey reports whether everybody has the keys before those of st, and, if an old key is
// dropped, whether nothing is sealed with it.
func (w *world) mayRekey(st *step) bool {
	for _, p := range w.procs {
		p.mu.Lock()
		stage := p.stage
		p.mu.Unlock()
		if stage < st.stage-1 {
			return false
		}
	}
	keys := w.plan.set.keys.stages[st.stage]
	for _, raw := range w.judge.engine {
		if id := keyIn(raw); id != "" && !slices.Contains(keys, id) {
			return false
		}
	}
	return true
}

// keys are those that p has been given.
func (p *process) keys() []string {
	stages := p.w.plan.set.keys.stages
	if stages == nil {
		return nil
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.stage = p.w.stages[p.id]
	return stages[p.stage]
}

var sealKeys = map[string]store.KeyWrapper{"first": sealKey("first"), "second": sealKey("second")}

func sealKey(id string) store.KeyWrapper {
	key := sha256.Sum256([]byte(id))
	w, err := store.KeyBytes(id, key[:])
	if err != nil {
		panic(err)
	}
	return w
}

func sealer(keys []string) *store.Sealer {
	if len(keys) == 0 {
		return store.Plaintext()
	}
	var list []store.KeyWrapper
	for _, id := range keys {
		list = append(list, sealKeys[id])
	}
	return store.Seal(list[0], list[1:]...)
}

// keyIn returns the key that a record is sealed with; "": none.
func keyIn(raw []byte) string {
	r, err := protocol.DecodeRecord(raw)
	if err != nil || len(r.Sealed) < 2 || len(r.Sealed) < 2+int(r.Sealed[1]) {
		return ""
	}
	return string(r.Sealed[2 : 2+int(r.Sealed[1])])
}

// reads notes that a process finds raw. It may not have the key.
func (j *judge) reads(p *process, keys []string, raw []byte) {
	id := keyIn(raw)
	if set := &j.w.plan.set; len(keys) == 0 || id == "" || slices.Contains(keys, id) || !set.keys.blinds {
		return
	}
	j.w.met["a record whose key is not at hand"]++
	p.storeTrouble, p.storeFault = j.w.now()+6*time.Second, true
}

// sealed judges what a process with these keys writes over old.
func (j *judge) sealed(p *process, keys []string, old, new []byte) {
	before, after := keyIn(old), keyIn(new)
	switch {
	case containsSecret(string(new)):
		j.w.violated("no secret", "%s writes a token in plaintext", p.name())
	case after == "" || after == keys[0]:
	case after != before || !claims(old, new):
		j.w.violated("own key", "%s seals with the key %q, and should with %q", p.name(), after, keys[0])
	}
}

// claims reports whether a record has the token of the one before, as a claim has.
func claims(old, new []byte) bool {
	a, err := protocol.DecodeRecord(old)
	b, errNew := protocol.DecodeRecord(new)
	return errors.Join(err, errNew) == nil && a.Era == b.Era && a.Number == b.Number
}

// opened returns the access tokens of all records in the engine, which are sealed.
func (j *judge) opened() (list []string) {
	for _, user := range users[:j.w.plan.set.users] {
		r, err := j.opener.Load(context.Background(), user)
		if err != nil {
			continue // there is none
		}
		list = append(list, accessOf(r.Token)...)
	}
	return list
}

func accessOf(t *tokenclient.Token) []string {
	list := []string{t.AccessToken}
	for _, a := range t.Audiences {
		list = append(list, a.Token.AccessToken)
	}
	return list
}

// Get is part of store.KV, for who opens what is in the engine.
func (r register) Get(_ context.Context, key string) ([]byte, error) { return r[key], nil }

// CompareAndSwap is part of store.KV.
func (r register) CompareAndSwap(context.Context, string, []byte, []byte) (bool, error) {
	return false, errEngine
}
