package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A register is the engine: one value, and a network before it that loses and delays.
type register struct {
	raw    []byte
	header header
	wrote  time.Duration // when
	by     *call
}

// engineOf is the engine as p reaches it. It waits for an operation as long as package
// store does.
type engineOf struct{ p *process }

func (engineOf) Where(string) string { return "the record" }

var (
	errUnreachable = errors.New("no route to the engine")
	errReplyLost   = errors.New("connection to the engine reset")
)

func (e engineOf) Get(ctx context.Context, _ string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.OperationTimeout)
	defer cancel()
	w, c := e.p.w, callOf(ctx)
	o := &operation{call: c, what: "get", ctx: ctx}
	var value []byte
	o.start = func() {
		there, back, ok := w.setOut(o)
		if !ok {
			return
		}
		if w.trouble(w.set.readTrouble) {
			w.count(readFailed)
			w.fail(o, there, errReplyLost)
			return
		}
		w.after(there, func() {
			value = bytes.Clone(w.engine.raw)
			h := w.engine.header
			w.judge.looked(c, h)
			w.note(c.who, "reads number %d, announced %d", int(h.Number), h.Announced)
			w.reply(o, back)
		})
	}
	e.p.perform(o)
	if o.err != nil {
		c.sawAt = 0
	}
	return value, o.err
}

func (e engineOf) CompareAndSwap(ctx context.Context, _ string, old, new []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.OperationTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
	}
	w, c := e.p.w, callOf(ctx)
	o := &operation{call: c, what: "swap", ctx: ctx}
	old, new = bytes.Clone(old), bytes.Clone(new)
	swapped := false
	land := func(late bool) {
		done := bytes.Equal(old, w.engine.raw) && (old == nil) == (w.engine.raw == nil)
		switch {
		case late && done:
			w.count(lateWrite)
			w.note(c.who, "LATE write")
		case late:
			w.count(lateWriteInVain)
		case !done:
			w.count(conflict)
			w.note(c.who, "conflict")
		}
		if done {
			w.commit(o, new)
		}
		if !late {
			swapped = done
		}
	}
	o.start = func() {
		c.sawAt = 0
		there, back, ok := w.setOut(o)
		if !ok {
			return
		}
		kind := 0
		if w.trouble(w.set.writeTrouble) {
			kind = 1 + w.rng.IntN(5)
		}
		switch kind {
		case 1:
			w.count(writeReplyLost)
			w.after(there, func() {
				land(false)
				w.fail(o, back, errReplyLost)
			})
		case 2:
			w.count(writeLost)
			w.fail(o, there, errReplyLost)
		case 3: // the caller gives up first
			w.fail(o, there, errReplyLost)
			w.after(there+w.between(0, 3*w.set.lease()), func() { land(true) })
		case 4:
			w.count(duplicate)
			w.after(there, func() {
				land(false)
				w.reply(o, back)
			})
			w.after(there+w.between(0, 3*w.set.lease()), func() { land(true) })
		case 5: // what an engine does that cannot put transactions in order
			w.count(storm)
			w.after(there, func() {
				w.note(c.who, "told of a conflict")
				w.reply(o, back)
			})
		default:
			w.after(there, func() {
				land(false)
				w.reply(o, back)
			})
		}
	}
	e.p.perform(o)
	return swapped, o.err
}

// setOut sends o to the engine, and returns how far that is there and back; ok is false if
// its process has died, or is cut off from the engine.
func (w *world) setOut(o *operation) (there, back time.Duration, ok bool) {
	if w.struck(o, o.start) {
		return 0, 0, false
	}
	there, back = w.distance(), w.distance()
	w.strikeLater(o, there+back)
	if w.now() < o.p.cutOff {
		w.unreachable(o)
		return 0, 0, false
	}
	return there, back, true
}

// distance is how long a message takes between a process and the engine.
func (w *world) distance() time.Duration {
	if !w.quiet && w.chance(w.set.slowEngine) {
		w.count(slowEngine)
		return w.between(100*time.Millisecond, 1500*time.Millisecond)
	}
	return w.between(100*time.Microsecond, 5*time.Millisecond)
}

// trouble draws whether there is some.
func (w *world) trouble(p float64) bool { return !w.quiet && w.chance(p) }

// reply brings the answer of the engine, unless its process is cut off by then.
func (w *world) reply(o *operation, d time.Duration) {
	if a := o.p.ambush; a != nil && o.call.refresh {
		o.p.ambush = nil
		w.forProcess(a, w.between(0, d), func() { w.end(a, nil) })
	}
	w.after(d, func() {
		if w.now() < o.p.cutOff {
			w.unreachable(o)
			return
		}
		w.forProcess(o, 0, func() { w.end(o, nil) })
	})
}

// fail lets o end with err, or not before its process loses patience.
func (w *world) fail(o *operation, d time.Duration, err error) {
	if w.chance(0.3) {
		return
	}
	w.forProcess(o, d, func() {
		w.note(o.call.who, o.what+" fails")
		w.end(o, err)
	})
}

func (w *world) unreachable(o *operation) {
	w.count(unreachable)
	w.fail(o, w.between(time.Millisecond, 300*time.Millisecond), errUnreachable)
}

// cut cuts p off from the engine.
func (p *process) cut(d time.Duration) {
	w := p.w
	if p.dead || w.now() < p.cutOff {
		return
	}
	w.count(cutOff)
	w.note(p.name(), "is CUT OFF from the engine for %d ms", int(d.Milliseconds()))
	p.cutOff = w.now() + d
}

// struck lets a misfortune befall the process of o before it is done. It reports
// whether somebody else goes on with o.
func (w *world) struck(o *operation, again func()) bool {
	if w.quiet || !w.chance(w.set.misfortune) || !w.misfortune(o.p) {
		return false
	}
	if !o.p.dead {
		w.forProcess(o, 0, again)
	}
	return true
}

// strikeLater lets one befall it meanwhile.
func (w *world) strikeLater(o *operation, within time.Duration) {
	if w.quiet || !w.chance(w.set.misfortune) {
		return
	}
	w.after(w.between(0, within+within/2), func() {
		if !w.quiet {
			w.misfortune(o.p)
		}
	})
}

// misfortune draws one. It reports whether p does not go on for now.
func (w *world) misfortune(p *process) bool {
	d := w.between(w.set.lease()/4, 2*w.set.lease())
	switch kinds := w.set.misfortunes; kinds[w.rng.IntN(len(kinds))] {
	case crashed:
		if w.set.crashes == 0 {
			return false
		}
		w.set.crashes--
		w.count(crashed)
		p.crash()
		if w.chance(0.7) {
			w.count(restarted)
			w.after(d, w.startProcess)
		}
		return true
	case frozen:
		p.freeze(d, false)
		return true
	case suspended:
		p.freeze(d, true)
		return true
	case cutOff:
		p.cut(d)
	case clockSet:
		w.count(clockSet)
		step := time.Duration(w.rng.IntN(7200)-3600) * time.Second
		if slices.Contains(kinds, suspended) {
			step = step.Abs() // a clock set back by the length of a suspend would hide it
		}
		w.note(p.name(), "its wall clock is set by %d s", int(step.Seconds()))
		p.mu.Lock()
		p.wall += step
		p.mu.Unlock()
	}
	return false
}

// decode returns the header of a record, and its token, which is nil in a tombstone.
func decode(raw []byte) (header, *tokenclient.Token, error) {
	h, err := decodeHeader(raw)
	if err != nil || h.State != tokenclient.Active {
		return h, nil, err
	}
	r, err := protocol.DecodeRecord(raw)
	if err != nil {
		return h, nil, err
	}
	t, err := new(testSealer).Open(context.Background(), keyOfRun, r)
	return h, t, err
}
