package protocol_test

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A world is one run of the simulation: some processes, the engine that they share,
// and the server. Everything that leaves a process is an operation. The scheduler,
// which is the goroutine that the run belongs to, lets one of them at a time come to
// pass, whenever everybody else waits. So a run is the same each time, however
// goroutines are scheduled: all chance is drawn by the scheduler, from the seed, and
// what arrives at the same moment is put in order first.
type world struct {
	seed  uint64
	set   settings
	rng   *rand.Rand
	saves *rand.Rand // for what is saved without a presentation
	begin time.Time
	bell  chan struct{} // holds one element if something has arrived

	mu      sync.Mutex // guards arrived and running
	arrived []*operation

	queue []*event
	seq   int
	steps int
	quiet bool // no more faults

	running int             // clients that have not ended
	waves   []time.Duration // when many need a new token at once
	healed  time.Duration   // when the faults end

	procs  []*process
	engine register
	lock   *kernelTurn // who has it; see newLockWorld
	server authority
	judge  judge

	trace     []traceEntry
	faults    [faultKinds]int
	violation string
}

// An event is what the scheduler does at some time.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

// A traceEntry is a line of a run.
type traceEntry struct {
	at   time.Duration
	who  string
	what string
	n    [2]int
	has  int // how many numbers what has room for
}

func (e traceEntry) String() string {
	numbers := []any{e.n[0], e.n[1]}
	return fmt.Sprintf("%12.6fs %-14s %s", e.at.Seconds(), e.who, fmt.Sprintf(e.what, numbers[:e.has]...))
}

func (w *world) now() time.Duration { return time.Since(w.begin) }

// note writes a line of the trace. what is a format with at most two numbers.
func (w *world) note(who, what string, numbers ...int) {
	e := traceEntry{at: w.now(), who: who, what: what, has: len(numbers)}
	copy(e.n[:], numbers)
	w.trace = append(w.trace, e)
}

// violated ends the run; the first violation counts.
func (w *world) violated(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.note("JUDGE", "VIOLATION")
	}
}

// hash is of the whole trace.
func (w *world) hash() uint64 {
	h := fnv.New64a()
	for _, e := range w.trace {
		fmt.Fprintln(h, int64(e.at), e.who, e.what, e.n)
	}
	return h.Sum64()
}

// chance draws.
func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between draws a duration, never on a round number: two things at the same time are
// rare then.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)+1)) + time.Duration(w.rng.IntN(1000))
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	w.queue = append(w.queue, &event{w.now() + d, w.seq, do})
}

// An operation is something that a process waits for.
type operation struct {
	p       *process
	call    *call // who waits
	what    string
	ctx     context.Context // nil: it is waited for whatever happens
	start   func()          // called by the scheduler
	err     error           // what came of it
	started time.Duration   // when it was asked for
	ended   chan struct{}
	over    bool       // ended is closed
	die     bool       // the process is dead: its goroutine ends here
	left    *operation // o is the news that the context of left has ended

	abandoned func() // called when that news gets through; may be nil
}

// perform waits for the scheduler to do o. Once the process is dead it does not
// return: the goroutine ends.
func (p *process) perform(o *operation) {
	o.p, o.ended = p, make(chan struct{})
	p.w.arrive(o)
	if o.ctx != nil {
		select {
		case <-o.ended:
		case <-o.ctx.Done():
			p.w.arrive(&operation{p: p, call: o.call, what: o.what, left: o})
		}
	}
	<-o.ended
	if o.die {
		runtime.Goexit()
	}
}

func (w *world) arrive(o *operation) {
	w.mu.Lock()
	w.arrived = append(w.arrived, o)
	w.mu.Unlock()
	w.ring()
}

func (w *world) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// admit takes what has arrived into the queue.
func (w *world) admit() {
	w.mu.Lock()
	arrived := w.arrived
	w.arrived = nil
	w.mu.Unlock()
	slices.SortFunc(arrived, func(a, b *operation) int {
		return cmp.Or(cmp.Compare(a.p.id, b.p.id), cmp.Compare(a.call.name, b.call.name), cmp.Compare(a.what, b.what))
	})
	for _, o := range arrived {
		switch {
		case o.left != nil:
			w.leave(o.left)
		default:
			o.started = w.now()
			o.p.open = append(o.p.open, o)
			w.forProcess(o, 0, o.start)
		}
	}
}

// leave ends an operation whose context has ended. If an answer came while the
// process stood still it finds that, and not that it is late. (The timers of a process
// that stands still go on here. That of a session would take a Refresher that does not
// return then for a broken one; so this one is told that it is late.)
func (w *world) leave(o *operation) {
	if now := w.now(); now < o.p.frozen && !(w.set.sessions && o.abandoned != nil) {
		w.after(o.p.frozen-now+time.Microsecond, func() { w.leave(o) })
		return
	}
	w.after(0, func() {
		if o.over || o.p.dead {
			return
		}
		if o.abandoned != nil {
			o.abandoned()
		}
		w.note(o.call.who, "waits no longer")
		w.end(o, o.ctx.Err())
	})
}

// forProcess does what o's process notices, after d; if it stands still, when it goes
// on. If it is dead nothing happens any more but that its goroutine ends.
func (w *world) forProcess(o *operation, d time.Duration, do func()) {
	w.after(d, func() {
		switch p := o.p; {
		case o.over:
		case p.dead:
			o.die = true
			w.end(o, nil)
		case w.now() < p.frozen:
			w.forProcess(o, p.frozen-w.now(), do)
		default:
			do()
		}
	})
}

// end lets the process go on.
func (w *world) end(o *operation, err error) {
	if o.over {
		return
	}
	o.over, o.err = true, err
	o.p.open = slices.DeleteFunc(o.p.open, func(x *operation) bool { return x == o })
	close(o.ended)
}

const (
	longest  = 30 * time.Minute // of a run; they take a few minutes
	maxSteps = 20_000
)

// run schedules until done says so.
func (w *world) run(done func() bool) {
	for {
		synctest.Wait()
		w.admit()
		if done() {
			return
		}
		var next *event
		for _, e := range w.queue {
			if next == nil || e.at < next.at || e.at == next.at && e.seq < next.seq {
				next = e
			}
		}
		now := w.now()
		if w.steps++; (w.steps > maxSteps || now > longest) && w.violation == "" {
			w.violated("P3: %d steps, and no end", w.steps)
		}
		if w.violation != "" {
			w.killAll()
		}
		switch {
		case next == nil:
			<-w.bell
		case next.at <= now:
			w.queue = slices.DeleteFunc(w.queue, func(e *event) bool { return e == next })
			next.do()
		default:
			timer := time.NewTimer(next.at - now)
			select {
			case <-timer.C:
			case <-w.bell:
				timer.Stop()
			}
		}
	}
}

// A process is what can crash, stand still, sleep, and be cut off from the engine.
type process struct {
	w  *world
	id int

	// The scheduler's.
	dead    bool
	died    time.Duration // when
	frozen  time.Duration // until when it stands still
	frozeAt time.Duration
	stood   time.Duration // for how long it has stood still before
	cutOff  time.Duration // until when it cannot reach the engine
	open    []*operation
	kill    []func() // called once it is dead

	ambush       *operation // ends when an answer is on its way
	store        *judgedStore
	session      *tokenclient.Session // nil: its clients talk to the store
	known        map[int]bool         // families that its session has returned
	loggedOut    map[int]bool         // those of them when it logged out
	hasLoggedOut bool                 // then its session knows, even if the engine does not
	mayRevoke    int                  // the last family when it logged out

	mu        sync.Mutex    // guards what follows
	asleep    bool          // the monotonic clock stands still
	asleepAt  time.Duration // since when
	monotonic time.Duration // how far the monotonic clock is behind
	wall      time.Duration // how far the wall clock is ahead
}

func (p *process) name() string { return "p" + string(rune('0'+p.id)) }

// freeze makes p stand still. If it is a suspend its monotonic clock stands still too.
func (p *process) freeze(d time.Duration, suspend bool) {
	w := p.w
	if p.dead || w.now() < p.frozen {
		return
	}
	p.frozeAt, p.frozen = w.now(), w.now()+d
	kind, what := frozen, "STANDS STILL for %d ms"
	if suspend {
		kind, what = suspended, "is SUSPENDED for %d ms"
	}
	w.count(kind)
	w.note(p.name(), what, int(d.Milliseconds()))
	p.mu.Lock()
	p.asleep, p.asleepAt = suspend, w.now()
	p.mu.Unlock()
	w.after(d, func() { p.thaw() })
}

func (p *process) thaw() {
	if p.dead || p.frozen == 0 {
		return
	}
	d := p.w.now() - p.frozeAt
	p.stood += d
	p.frozen = 0
	p.mu.Lock()
	if p.asleep {
		p.asleep = false
		p.monotonic += d
	}
	p.mu.Unlock()
	p.w.note(p.name(), "goes on")
}

// stoodStill is for how long p has not run so far.
func (p *process) stoodStill() time.Duration {
	if p.frozen != 0 {
		return p.stood + p.w.now() - p.frozeAt
	}
	return p.stood
}

// crash ends p in the middle of what it does. What it has sent is on its way.
func (p *process) crash() {
	if p.dead {
		return
	}
	p.w.note(p.name(), "CRASHES")
	p.dead, p.died = true, p.w.now()
	for _, o := range slices.Clone(p.open) {
		o.die = true
		p.w.end(o, nil)
	}
	for _, f := range p.kill {
		go f()
	}
}

func (w *world) killAll() {
	for _, p := range w.procs {
		p.crash()
	}
}

// clock is what p takes for the time. Its wall clock has nothing to do with those of
// others, and its monotonic clock stands still while its machine is suspended.
func (p *process) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	behind := p.monotonic
	if p.asleep {
		behind += p.w.now() - p.asleepAt
	}
	now := p.w.now()
	return reading(p.w.begin.Add(now+p.wall), now-behind)
}

// reading returns what time.Now returns if the wall clock says wall and the monotonic
// one says monotonic. Package time has no way to make that, and in a bubble time.Now
// has no monotonic reading. A Time that has one begins with a bit that says so, 33
// bits of seconds since 1885 and 30 of nanoseconds; the second word is monotonic.
func reading(wall time.Time, monotonic time.Duration) time.Time {
	t := wall.Round(0)
	words := (*[2]uint64)(unsafe.Pointer(&t))
	words[0] = 1<<63 | uint64(wall.Unix()-year1885)<<30 | uint64(wall.Nanosecond())
	words[1] = uint64(monotonic)
	return t
}

var year1885 = time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// jitter is p's. It depends on the seed and the time, not on who asks first.
func (p *process) jitter(below time.Duration) time.Duration {
	h := p.w.seed*0x9e3779b97f4a7c15 + uint64(p.id)*0xbf58476d1ce4e5b9 + uint64(p.w.now())*0x94d049bb133111eb + uint64(below)
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return time.Duration((h ^ h>>31) % uint64(below))
}
