package simulation_test

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"testing/synctest"
	"time"
)

// A world is one history while it runs. All of it but what mu guards belongs to the scheduler,
// which is the goroutine that calls run: what operations do, and what the judge knows.
type world struct {
	plan  *plan
	begin time.Time
	bell  chan struct{} // holds one element if something has arrived
	alarm *time.Timer   // of the scheduler; one for all times, since it is set for each step

	mu      sync.Mutex // guards arrived, running, out and stages
	arrived []*operation
	running int // goroutines of the program that have not ended
	out     []string
	stages  map[int]int // of keys that processes have been given

	queue []*event
	seq   int
	steps int
	total int  // operations so far
	quiet bool // nothing goes wrong any more

	procs     []*process
	server    *server
	judge     *judge
	folder    string            // of a store.File; "": there is none
	abandoned map[[16]byte]bool // the holds in it whose processes were killed

	struck map[string]string // what went wrong, by the key of its fate
	counts map[string]int    // of operations, by what they are
	met    map[string]int    // how often it came to what is worth a count

	telling bool // the story is wanted
	story   []string
	hash    uint64
}

// An event is what the scheduler does at some time.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

// An operation is something that a goroutine of the program waits for.
type operation struct {
	p     *process // whose it is; nil: the world's
	key   string   // sorts those that arrive at the same time
	ctx   context.Context
	start func(*operation) // called by the scheduler; end follows
	done  chan struct{}
	over  bool
	err   error
	left  *operation // o is the news that the context of left has ended
	gone  func()     // called when that news gets through; may be nil

	store  bool   // it is of an engine
	held   bool   // it cannot begin, since its process stands still
	late   bool   // it begins when its process goes on, though nobody waits for it
	answer func() // what its process hears when it goes on; nil: nothing yet
}

func (w *world) now() time.Duration { return time.Since(w.begin) }

// note adds a line to the story.
func (w *world) note(who, format string, args ...any) {
	if !w.telling {
		return
	}
	line := fmt.Sprintf("%10.3f s  %-9s %s", w.now().Seconds(), who, fmt.Sprintf(format, args...))
	w.story = append(w.story, line)
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, w.hash, line)
	w.hash = h.Sum64()
}

// print takes what the library says to somebody, in an error, a log line or a hook.
func (w *world) print(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, text)
}

// perform waits for the scheduler to do what start says and end the operation. It ends earlier,
// with the error of ctx, if that ends, and with errKilled if it is of a process that is killed.
func (w *world) perform(ctx context.Context, key string, gone func(), start func(*operation)) error {
	return w.await(&operation{key: key, ctx: ctx, start: start, gone: gone})
}

// await is perform.
func (w *world) await(o *operation) error {
	ctx := o.ctx
	o.p, o.done = processOf(ctx), make(chan struct{})
	if o.p != nil && o.p.dead.Load() {
		return errKilled
	}
	w.arrive(o)
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		w.arrive(&operation{key: o.key, left: o})
	}
	<-o.done
	return o.err
}

// tell has the scheduler call f, and waits until it has.
func (w *world) tell(key string, f func()) {
	_ = w.perform(context.Background(), key, nil, func(o *operation) {
		f()
		w.end(o, nil)
	})
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

// spawn runs f as a goroutine of the program.
func (w *world) spawn(f func()) {
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	go func() {
		defer func() {
			w.mu.Lock()
			w.running--
			w.mu.Unlock()
			w.ring()
		}()
		f()
	}()
}

// end lets the goroutine go on that waits for o.
func (w *world) end(o *operation, err error) {
	if !o.over {
		o.over, o.err = true, err
		if o.p != nil {
			o.p.open = slices.DeleteFunc(o.p.open, func(x *operation) bool { return x == o })
		}
		close(o.done)
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	w.queue = append(w.queue, &event{w.now() + d, w.seq, do})
}

// admit takes what has arrived into the queue, in an order that does not depend on who came
// first.
func (w *world) admit() {
	w.mu.Lock()
	arrived := w.arrived
	w.arrived = nil
	w.mu.Unlock()
	w.total += len(arrived)
	if len(arrived) > 1 {
		slices.SortStableFunc(arrived, func(a, b *operation) int { return cmp.Compare(a.key, b.key) })
	}
	for _, o := range arrived {
		if o.p != nil {
			o.p.open = append(o.p.open, o)
		}
		w.after(0, func() {
			if o.left != nil {
				w.leaving(o.left)
			} else {
				w.leaves(o)
			}
		})
	}
}

const (
	maxSteps = 20_000
	longest  = 3 * time.Hour
)

// run schedules until done says so, which is asked whenever everybody waits. It returns false
// if there is no end.
func (w *world) run(done func() bool) bool {
	for {
		synctest.Wait()
		select {
		case <-w.bell: // what it rang for is admitted now
		default:
		}
		w.admit()
		if done() {
			return true
		}
		if w.steps++; w.steps > maxSteps || w.now() > longest {
			return false
		}
		i := w.next()
		if i >= 0 && w.queue[i].at <= w.now() {
			e := w.queue[i]
			w.queue = slices.Delete(w.queue, i, i+1)
			e.do()
			continue
		}
		d := 10 * time.Minute // of the library's own timers there may be some yet
		if i >= 0 {
			d = w.queue[i].at - w.now()
		}
		w.sleep(d)
	}
}

// sleep waits for d, or until the bell rings.
func (w *world) sleep(d time.Duration) {
	if w.alarm == nil {
		w.alarm = time.NewTimer(d)
	} else {
		w.alarm.Reset(d)
	}
	select {
	case <-w.bell:
		w.alarm.Stop()
	case <-w.alarm.C:
	}
}

// next returns the index of the event that comes next; -1: there is none.
func (w *world) next() int {
	next := -1
	for i, e := range w.queue {
		if next < 0 || e.at < w.queue[next].at || e.at == w.queue[next].at && e.seq < w.queue[next].seq {
			next = i
		}
	}
	return next
}

// idle reports whether nobody does anything.
func (w *world) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running == 0 && len(w.arrived) == 0
}

// wait has the world go on for d.
func (w *world) wait(d time.Duration) bool {
	over := false
	w.after(d, func() { over = true })
	return w.run(func() bool { return over })
}
