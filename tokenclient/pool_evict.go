package tokenclient

import (
	"iter"
	"runtime"
	"sync/atomic"
	"time"
	"weak"
)

const (
	idleTicks = 8    // of Pool.tick in PoolConfig.IdleFor
	maxEmpty  = 4096 // sessions without a token that are kept
	maxSteps  = 32   // entries that are looked at to make room for one
	sweepStep = 1024 // entries that are looked at with Pool.mu held
	longKey   = 512  // bytes of a key that nobody is logged in with; a longer one is not kept
)

// An entry is what a Pool knows of a key: its session, one that was evicted and that
// somebody may still hold, or why there is none.
//
// Eviction takes the session out of the entry and leaves a weak pointer. While
// anybody holds the session, and its own goroutines do while they run, the entry
// leads to it; when nobody does, the garbage collector removes both.
type entry struct {
	key     string
	used    atomic.Uint32           // Pool.tick at the last use; less one if the hand has come by since
	empty   atomic.Bool             // ring is Pool.empty; written with Pool.mu held, as session is
	session atomic.Pointer[Session] // nil: evicted

	// Guarded by Pool.mu.
	evicted    weak.Pointer[Session] // while session is nil
	forget     runtime.Cleanup       // of held
	failure    error                 // of Config; there is no session then
	until      time.Time             // when failure may be forgotten
	ring       *ring                 // that e is in; nil: evicted
	prev, next *entry
}

// use returns e's session, nil if there is none, and notes when it was used. To write
// that down only when it changes keeps the entry in all processors' caches.
func (p *Pool) use(e *entry) *Session {
	s := e.session.Load()
	if tick := p.tick.Load(); s != nil && e.used.Load() != tick {
		e.used.Store(tick)
		if e.empty.Load() && s.holds().usable() {
			p.changed(s)
		}
	}
	return s
}

// changed is that of a [host]. Who has got a token moves to those that have one. A session
// that was evicted, and that somebody holds, is taken back: after a logout it alone may
// know of that. And who comes after the end of a session gets one that works; but Close
// still needs those that it could not close.
func (p *Pool) changed(s *Session) {
	open := s.isOpen()
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entry(s.name())
	switch {
	case p.closed, e == nil, e.session.Load() != s && e.evicted.Value() != s:
	case !open:
		p.dropLocked(e)
	case e.session.Load() == nil:
		p.takeBackLocked(e, s)
	case e.ring == &p.empty && s.holds().usable():
		p.empty.remove(e)
		p.keepLocked(e)
	}
}

// A ring holds entries in the order in which they are looked at. Its zero value is
// empty. Pool.mu guards it.
type ring struct {
	len         int
	first, last *entry
}

func (r *ring) push(e *entry) {
	e.ring, e.prev, e.next = r, r.last, nil
	if r.last != nil {
		r.last.next = e
	} else {
		r.first = e
	}
	r.last = e
	r.len++
}

func (r *ring) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		r.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		r.last = e.prev
	}
	e.ring, e.prev, e.next = nil, nil, nil
	r.len--
}

// keepLocked puts e into the ring that it belongs to and makes room for it. Sessions
// without a token have a ring of their own, lest strangers push out users.
func (p *Pool) keepLocked(e *entry) {
	e.used.Store(p.tick.Load() - 1) // one use is no reason to stay
	if s := e.session.Load(); s != nil && s.holds().usable() {
		p.makeRoomLocked(&p.live, p.maxIdle-1)
		e.empty.Store(false)
		p.live.push(e)
	} else {
		p.makeRoomLocked(&p.empty, maxEmpty-1)
		e.empty.Store(true)
		p.empty.push(e)
		if len(e.key) > longKey && (s == nil || !s.busy()) {
			p.evictLocked(e) // strangers choose keys, and their length
		}
		p.makeRoomLocked(&p.live, p.maxIdle) // some may have logged in
	}
	if !p.sweeping {
		p.sweeping = true
		p.sweeper = time.AfterFunc(p.period, p.sweep)
	}
}

// makeRoomLocked evicts entries of r until there are limit. The hand goes round: who
// was used since it came by last stays until it comes by again ("second chance"),
// but it does not go far for one that was not.
func (p *Pool) makeRoomLocked(r *ring, limit int) {
	var idle *entry // the first that might go
	for range maxSteps {
		if r.len <= limit {
			return
		}
		switch e := r.first; {
		case p.passLocked(e):
		case e.used.Load()&1 == 0:
			p.evictLocked(e)
		default:
			e.used.Add(^uint32(0))
			if idle == nil {
				idle = e
			}
		}
	}
	if idle != nil && idle.ring == r && r.len > limit {
		p.evictLocked(idle)
	}
}

// passLocked moves e, the first of its ring, to the end of the ring that it belongs
// to, and reports whether it has to stay for now.
func (p *Pool) passLocked(e *entry) (stays bool) {
	r := e.ring
	if s := e.session.Load(); s != nil {
		stays = s.busy()
		if s.holds().usable() {
			stays = stays || r == &p.empty // it has got a token meanwhile
			r = &p.live
			e.empty.Store(false)
		}
	}
	e.ring.remove(e)
	r.push(e)
	return stays
}

// evictLocked lets go of e's session.
func (p *Pool) evictLocked(e *entry) {
	e.ring.remove(e)
	s := e.session.Load()
	if s == nil {
		p.removeLocked(e)
		return
	}
	e.evicted = weak.Make(s)
	e.forget = runtime.AddCleanup(s, p.forgotten, e)
	e.session.Store(nil)
	p.evicted.Add(1)
}

// removeLocked removes e, unless another one has its place.
func (p *Pool) removeLocked(e *entry) { p.entries.CompareAndDelete(e.key, e) }

// forgotten removes what is left of e, whose evicted session nobody holds any more.
func (p *Pool) forgotten(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked(e)
}

// sweep evicts what was not used for idleTicks, and what is too much. It runs every period while there is
// anything that could be evicted.
func (p *Pool) sweep() {
	tick := p.tick.Add(2)
	for _, r := range []*ring{&p.empty, &p.live} {
		p.mu.Lock()
		left := r.len
		p.mu.Unlock()
		for left > 0 {
			left = p.sweepSome(r, left, tick)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := p.live.len + 1; n > p.live.len && !p.closed; {
		n = p.live.len
		p.makeRoomLocked(&p.live, p.maxIdle)
	}
	p.sweeping = !p.closed && p.live.len+p.empty.len > 0
	if p.sweeping {
		p.sweeper = time.AfterFunc(p.period, p.sweep)
	}
}

// sweepSome looks at some of the next left entries of r and returns how many are
// left then.
func (p *Pool) sweepSome(r *ring, left int, tick uint32) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0
	}
	for range sweepStep {
		if left == 0 || r.len == 0 {
			return 0
		}
		left--
		e := r.first
		if p.passLocked(e) {
			continue
		}
		ended := r == &p.live && !e.session.Load().holds().usable()
		if ended || tick-e.used.Load() > 2*idleTicks+1 {
			p.evictLocked(e)
		}
	}
	return left
}

// takeBackLocked keeps e's session again, which was evicted.
func (p *Pool) takeBackLocked(e *entry, s *Session) {
	e.forget.Stop()
	e.session.Store(s)
	p.keepLocked(e)
}

// entry returns what is known of key, nil if that is nothing.
func (p *Pool) entry(key string) *entry {
	e, _ := p.entries.Load(key)
	known, _ := e.(*entry)
	return known
}

// all iterates over what is known, without a lock.
func (p *Pool) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		p.entries.Range(func(_, e any) bool { return yield(e.(*entry)) })
	}
}

func (p *Pool) dropLocked(e *entry) {
	if e.ring != nil {
		e.ring.remove(e)
	}
	p.removeLocked(e)
}
