package tokenclient

import (
	"slices"
	"time"
)

const (
	// paceLongest is how long an early refresh waits at most, if its token is good
	// for four times as long.
	paceLongest = time.Minute

	paceLeast = 10.0                  // refreshes per second that need not be spread out
	paceStep  = 10 * time.Millisecond // the shortest time between two looks at the queue

	forecastSteps = 120
	forecastStep  = 5 * time.Second
	forecastEvery = 10 * time.Second
	forecastShare = 50 // of the time is spent with other things than forecasts
)

// A pace spreads out early refreshes, which have time: what is in the queue is begun
// at the lowest rate with which nobody waits longer than may be, neither those who are
// there nor those who will come. Who has less time than the others goes first, and
// hurries nobody else. For the sessions know when that is: what
// comes as a wave leaves as a plateau. lines.mu guards it.
type pace struct {
	queue  []earlyRefresh // in the order in which they must begin
	rate   float64        // per second; goes down slowly while there is a queue
	credit float64        // refreshes that may begin now
	looked time.Time      // when credit was counted up
	timing bool           // a timer is going to look again
}

type earlyRefresh struct {
	session *Session
	held    *held
	cause   Cause
	until   time.Time // when it must begin
}

// push adds e. Those who must begin at the same time begin in the order in which they
// came.
func (p *pace) push(e earlyRefresh) {
	i, _ := slices.BinarySearchFunc(p.queue, e, func(a, b earlyRefresh) int {
		if a.until.After(b.until) {
			return 1
		}
		return -1
	})
	p.queue = slices.Insert(p.queue, i, e)
}

// needed is the lowest rate with which all of the queue begin when they must. Of a long
// queue it looks at some.
func (p *pace) needed(now time.Time) (rate float64) {
	for i := 0; i < len(p.queue); i += max(1, i/64) {
		rate = max(rate, float64(i+1)/max(p.queue[i].until.Sub(now), time.Second).Seconds())
	}
	return rate
}

// A forecast is how many refreshes will be due in each of the steps that come.
type forecast [forecastSteps]int

// rate is the lowest at which none of them, nor of those who wait already, has to wait
// for longer than wait.
func (f *forecast) rate(waiting int, wait time.Duration) float64 {
	most := float64(waiting) / wait.Seconds()
	if f != nil {
		for i, n := range f {
			waiting += n
			most = max(most, float64(waiting)/(wait+forecastStep*time.Duration(i+1)).Seconds())
		}
	}
	return most
}

// forecast counts what will be due, by token endpoint.
func (p *Pool) forecast(now time.Time) map[origin]*forecast {
	all := make(map[origin]*forecast)
	for e := range p.all() {
		s := e.session.Load()
		if s == nil || s.refresher == nil {
			continue
		}
		h := s.held.Load()
		if !h.usable() {
			continue
		}
		in := s.due(h).Sub(now)
		if in <= 0 && !s.early.Load() && !h.overdue(now) {
			in = paceLongest // its user has not come yet
		}
		if in > 0 && in < forecastSteps*forecastStep {
			f := all[s.endpoint()]
			if f == nil {
				f = new(forecast)
				all[s.endpoint()] = f
			}
			f[in/forecastStep]++
		}
	}
	return all
}

// refreshEarly has s refresh h when there is room. s.early is set meanwhile.
func (l *lines) refreshEarly(s *Session, h *held, cause Cause) {
	s.mu.Lock()
	waits := s.earlyWaitsLocked(h)
	s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if waits || l.closed {
		s.early.Store(false)
		return
	}
	wait := paceLongest
	if h.expires() {
		wait = max(min(wait, time.Until(h.before(h.hard))/4), time.Second)
	}
	ln := l.lineLocked(s)
	p := &ln.pace
	p.push(earlyRefresh{s, h, cause, time.Now().Add(wait)})
	if !p.timing {
		p.timing = true
		time.AfterFunc(0, func() { l.keepPace(ln) })
	}
}

// keepPace begins the early refreshes that are due, and comes back for the others.
func (l *lines) keepPace(ln *line) {
	l.lookAhead()
	l.mu.Lock()
	now := time.Now()
	p := &ln.pace
	rate := max(paceLeast, p.needed(now), l.coming[ln.endpoint].rate(len(p.queue), paceLongest))
	if p.credit < 1 { // somebody waited: what comes down slowly is more even
		rate = max(rate, p.rate*(1-now.Sub(p.looked).Seconds()/(4*paceLongest).Seconds()))
	}
	p.rate = rate
	p.credit = min(p.credit+p.rate*now.Sub(p.looked).Seconds(), 1+2*p.rate*paceStep.Seconds())
	p.looked = now
	var due []earlyRefresh
	// Those whom a request waits for come first.
	for len(p.queue) > 0 && p.credit >= 1 && len(ln.queue) == 0 && ln.turns+len(due) < ln.limit && !now.Before(ln.resume) {
		e := p.queue[0]
		p.queue[0] = earlyRefresh{} // the array must not keep the session
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
			e.session.startEarly(e.held, e.cause)
		} else {
			e.session.early.Store(false) // a request could not wait
		}
	}
}

// lookAhead makes a new forecast if it is time for one.
func (l *lines) lookAhead() {
	now := time.Now()
	l.mu.Lock()
	if l.closed || now.Before(l.lookAt) {
		l.mu.Unlock()
		return
	}
	l.lookAt = now.Add(forecastEvery)
	l.mu.Unlock()

	coming := l.pool.forecast(now.Round(0))

	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming = coming
	l.lookAt = now.Add(max(forecastEvery, forecastShare*time.Since(now)))
}
