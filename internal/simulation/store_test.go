package simulation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A register is the engine that processes share: a value for each key.
type register map[string][]byte

// engine is it as one process reaches it, which has these keys.
type engine struct {
	p    *process
	keys []string
}

var errEngine = errors.New("connection to the engine reset")

var storeRisks = []risk{{"the engine does not answer", 0.02}, {"the answer of the engine is lost", 0.03}, {"the engine is slow", 0.03}}

// reach has do done in the engine, and calls heard, which may be nil, when the process hears that
// it was.
func (e engine) reach(ctx context.Context, name string, do, heard func()) error {
	w, p := e.p.w, e.p
	name = fmt.Sprintf("p%d %s", p.id, name)
	return w.await(&operation{key: name, ctx: p.bound(ctx), store: true, start: func(o *operation) {
		key := w.count(name)
		if heard != nil {
			p.meets(whenWriting)
		}
		what := w.fate(key, scaled(storeRisks, w.plan.set.storeTrouble))
		if w.now() < p.storeDown {
			what = "the store is down"
		}
		d := w.plan.between(key+" takes", 100*time.Microsecond, 3*time.Millisecond)
		if what == "the engine is slow" {
			d = w.plan.between(key+" slow", 100*time.Millisecond, 3*time.Second)
		}
		if what != "" {
			w.note(p.name(), "%s: %s", name, what)
			p.storeTrouble, p.storeFault = w.now()+6*time.Second, true
		}
		w.after(d, func() {
			switch what {
			case "the store is down":
				w.hears(o, func() { w.end(o, errEngine) })
			case "the engine does not answer":
				// Until it is given up.
			case "the answer of the engine is lost":
				do()
				w.hears(o, func() { w.end(o, errEngine) })
			default:
				if !o.over || o.late || errors.Is(o.err, errKilled) && w.plan.unit(key+" lands") < 0.5 {
					do()
				}
				w.hears(o, func() {
					if heard != nil {
						heard()
						p.meets(whenWritten)
					}
					w.end(o, nil)
				})
			}
		})
	}})
}

func (e engine) Get(ctx context.Context, key string) (value []byte, err error) {
	err = e.reach(ctx, "reads "+key[:4], func() {
		value = bytes.Clone(e.p.w.judge.engine[key])
		e.p.w.judge.reads(e.p, e.keys, value)
	}, nil)
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (e engine) CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	old, new = bytes.Clone(old), bytes.Clone(new)
	c, issued := (*claim)(nil), e.p.w.now()
	err = e.reach(ctx, "writes "+key[:4], func() {
		r := e.p.w.judge.engine
		if have, ok := r[key]; ok == (old != nil) && bytes.Equal(have, old) {
			if len(e.keys) > 0 {
				e.p.w.judge.sealed(e.p, e.keys, have, new)
			}
			r[key], swapped = new, true
			e.p.w.judge.wrote(e.p, key, new)
			c = e.p.w.judge.claimIn(e.p, key, new, issued)
		}
	}, func() { c.isHeard(e.p) })
	if err != nil {
		return false, err
	}
	return swapped, nil
}

// newStore returns the store of a process; nil: it has none.
func (p *process) newStore() tokenclient.Store {
	w := p.w
	switch w.plan.set.store {
	case storeMemory:
		return &judgedStore{p, w.judge.memory}
	case storeFile:
		return p.newFile()
	case storeShared:
		keys := p.keys()
		s, err := store.NewShared(engine{p, keys}, sealer(keys), &store.SharedOptions{Margin: 2 * time.Second})
		if err != nil {
			panic(err)
		}
		return &judgedStore{p, p.byItsClock(s)}
	}
	return nil
}

// A judgedStore tells the judge what passes between a session and its store.
type judgedStore struct {
	p     *process
	inner tokenclient.Store
}

func (s *judgedStore) tell(what, key string, f func()) {
	s.p.tell(fmt.Sprintf("p%d %s %s", s.p.id, what, key), f)
}

// begin waits until it is the turn of this operation. An engine sees to that by itself. It returns
// false if the process was killed.
func (s *judgedStore) begin(what, key string) bool {
	if s.p.w.plan.set.store == storeFile {
		s.tell(what, key, func() {})
	}
	return !s.p.dead.Load()
}

func (s *judgedStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if s.p.dead.Load() {
		return tokenclient.Record{}, errKilled
	}
	var began time.Duration
	s.tell("loads", key, func() { began = s.p.w.now() })
	r, err := s.inner.Load(ctx, key)
	s.tell("loaded", key, func() { s.p.w.judge.loaded(s.p, r, began) })
	return r, err
}

func (s *judgedStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	if s.p.dead.Load() {
		return now, was, errKilled
	}
	var began time.Duration
	s.tell("replaces", key, func() { began = s.p.w.now() })
	now, was, err = s.inner.Replace(ctx, key, t)
	s.tell("replaced", key, func() { s.p.w.judge.replaced(s.p, key, now, was, t, began, err) })
	return now, was, err
}

func (s *judgedStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	if !s.begin("refreshes", key) {
		return tokenclient.Record{}, errKilled
	}
	var made *tokenclient.Token
	r, err := s.inner.Refresh(ctx, key, seen, timeout, func(ctx context.Context, now tokenclient.Record) (*tokenclient.Token, error) {
		t, err := fn(ctx, now)
		made = t
		return t, err
	})
	s.tell("refreshed", key, func() { s.p.w.judge.saved(s.p, r, made, err) })
	return r, err
}

func (s *judgedStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	if !s.begin("saves", key) {
		return tokenclient.Record{}, errKilled
	}
	r, err := s.inner.Save(ctx, key, seen, t)
	s.tell("saved", key, func() { s.p.w.judge.saved(s.p, r, t, err) })
	return r, err
}

// accessIn returns the access tokens that are in what was written to an engine and is not sealed.
func accessIn(raw []byte) (list []string) {
	text := string(raw)
	for {
		_, rest, ok := strings.Cut(text, "at-"+secret+"-")
		if !ok {
			return list
		}
		end := strings.IndexFunc(rest, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		})
		if end < 0 {
			end = len(rest)
		}
		list = append(list, "at-"+secret+"-"+rest[:end])
		text = rest[end:]
	}
}
