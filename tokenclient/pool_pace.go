package tokenclient

import (
	"time"
)

const (
	// paceLongest is how long an early refresh waits at most, if its token is good
	// for four times as long.
	paceLongest = time.Minute

	paceLeast = 10.0                  // refreshes per second that need not be spread out
	paceStep  = 10 * time.Millisecond // the shortest time between two looks
)

// A pace spreads out early refreshes, which have time: what is in the queue is begun
// at an even rate, the lowest with which nobody waits longer than may be. The rate
// goes up with the queue and does not go down before the queue is empty. Thus what
// comes as a wave leaves as a plateau. lines.mu guards it.
type pace struct {
	queue  []earlyRefresh
	rate   float64   // per second
	credit float64   // refreshes that may begin now
	looked time.Time // when credit was counted up
	timing bool      // a timer is going to look again
}

type earlyRefresh struct {
	session *Session
	held    *held
}

// refreshEarly has s refresh h when there is room. s.early is set meanwhile.
func (l *lines) refreshEarly(s *Session, h *held) {
	s.mu.Lock()
	waits := s.earlyWaitsLocked(h)
	s.mu.Unlock()
	now := time.Now()
	l.mu.Lock()
	if waits || l.closed {
		l.mu.Unlock()
		s.early.Store(false)
		return
	}
	ln := l.lineLocked(s)
	p := &ln.pace
	if len(p.queue) == 0 {
		p.rate, p.credit, p.looked = paceLeast, max(p.credit, 1), now
	}
	p.queue = append(p.queue, earlyRefresh{s, h})
	wait := paceLongest
	if !h.hard.IsZero() {
		wait = max(min(wait, h.hard.Sub(now)/4), time.Second)
	}
	p.rate = max(p.rate, float64(len(p.queue))/wait.Seconds())
	timing := p.timing
	p.timing = true
	l.mu.Unlock()
	if !timing {
		l.keepPace(ln)
	}
}

// keepPace begins the early refreshes that are due, and comes back for the others.
func (l *lines) keepPace(ln *line) {
	l.mu.Lock()
	now := time.Now()
	p := &ln.pace
	p.credit = min(p.credit+p.rate*now.Sub(p.looked).Seconds(), 1+2*p.rate*paceStep.Seconds())
	p.looked = now
	var due []earlyRefresh
	// Those whom a request waits for come first.
	for len(p.queue) > 0 && p.credit >= 1 && len(ln.queue) == 0 && ln.turns+len(due) < ln.limit && !now.Before(ln.resume) {
		e := p.queue[0]
		p.queue = p.queue[1:]
		if e.session.held.Load().generation == e.held.generation {
			p.credit--
		}
		due = append(due, e)
	}
	p.timing = len(p.queue) > 0
	if p.timing {
		wait := time.Duration((1 - p.credit) / p.rate * float64(time.Second))
		time.AfterFunc(max(wait, ln.resume.Sub(now), paceStep), func() { l.keepPace(ln) })
	}
	l.forgetLocked(ln)
	l.mu.Unlock()
	for _, e := range due {
		if e.session.held.Load().generation == e.held.generation {
			e.session.startEarly(e.held)
		} else {
			e.session.early.Store(false) // a request could not wait
		}
	}
}
