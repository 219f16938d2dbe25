package turns

import (
	"math"
	"slices"
	"time"
)

const (
	// paceLongest is how long an attempt that can wait does so at most, if it has four
	// times as long.
	paceLongest  = time.Minute
	paceShortest = time.Second

	paceFree  = 10.0                  // attempts per second that need not be spread out
	paceShare = 0.7                   // of the rate at which they come
	paceCount = 5 * time.Second       // over which that is an average
	paceSlow  = 4 * paceLongest       // in which the rate comes down from the top
	paceStep  = 10 * time.Millisecond // the shortest time between two looks at the queue
)

// A pace begins attempts that can wait, at a rate that is as even as their time allows.
// Lines.mu guards it.
type pace struct {
	queue   []early   // in the order in which they must begin
	coming  float64   // how many came per second lately, as of came
	came    time.Time // when the last one did
	rate    float64   // at which they begin, per second
	credit  float64   // how many may begin now, as of counted
	counted time.Time

	timer   *time.Timer
	looking bool // timer is set, or its function looks at the queue just now
}

// An early is an attempt that can wait.
type early struct {
	until time.Time // when it must begin
	start func() bool
}

// WhenRoom calls start when there is room for an attempt at endpoint that can wait: left is
// how much time there is until it is too late. start is called once, by a timer, unless
// Close comes first. It returns at once, and reports whether there is an attempt at all: one
// that is not wanted any more takes nobody's place. The attempt waits for its turn as others
// do, on another goroutine.
func (l *Lines[E, W]) WhenRoom(endpoint E, left time.Duration, start func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	now := time.Now()
	ln := l.atLocked(endpoint)
	ln.pace.push(early{now.Add(max(min(left/4, paceLongest), paceShortest)), start}, now)
	l.lookLocked(ln)
}

// push adds e. Those who must begin at the same time begin in the order in which they
// came.
func (p *pace) push(e early, now time.Time) {
	p.coming, p.came = p.comingNow(now)+1/paceCount.Seconds(), now
	i, _ := slices.BinarySearchFunc(p.queue, e, func(a, b early) int {
		if a.until.After(b.until) {
			return 1
		}
		return -1
	})
	p.queue = slices.Insert(p.queue, i, e)
}

func (p *pace) pop() early {
	e := p.queue[0]
	p.queue[0] = early{} // the array must not keep what it leads to
	p.queue = p.queue[1:]
	return e
}

// comingNow is how many come per second: an average in which the last ones weigh most.
func (p *pace) comingNow(now time.Time) float64 {
	return p.coming * math.Exp(-now.Sub(p.came).Seconds()/paceCount.Seconds())
}

// needed is the lowest rate with which all of the queue begin when they must. Of a long
// queue it looks at some.
func (p *pace) needed(now time.Time) (rate float64) {
	for i := 0; i < len(p.queue); i += max(1, i/64) {
		rate = max(rate, float64(i+1)/max(p.queue[i].until.Sub(now), paceShortest).Seconds())
	}
	return rate
}

// count counts up how many may begin.
func (p *pace) count(now time.Time) {
	passed := now.Sub(p.counted).Seconds()
	rate := max(paceFree, paceShare*p.comingNow(now), p.needed(now))
	if p.credit < 1 { // somebody had to wait
		rate = max(rate, p.rate*(1-passed/paceSlow.Seconds()))
	}
	p.rate, p.counted = rate, now
	p.credit = min(p.credit+rate*passed, 1+2*rate*paceStep.Seconds())
}

// close drops the queue.
func (p *pace) close() {
	p.queue = nil
	if p.looking && p.timer.Stop() {
		p.looking = false
	}
}

// roomLocked reports whether one more may begin that can wait, after those that have
// begun and are not in line yet. Who is in line goes first.
func (ln *line[E, W]) roomLocked(begun int, now time.Time) bool {
	return len(ln.queue) == 0 && ln.turns+begun < ln.limit && !now.Before(ln.resume)
}

// lookLocked has keepPace look at the queue, if it has to and can do something.
func (l *Lines[E, W]) lookLocked(ln *line[E, W]) {
	if p := &ln.pace; len(p.queue) > 0 && !p.looking && ln.roomLocked(0, time.Now()) {
		p.looking = true
		p.timer = time.AfterFunc(0, func() { l.keepPace(ln) })
	}
}

// keepPace begins what may begin now. It comes back for the others, if there is room for
// them; if not, advanceLocked calls it when there is.
func (l *Lines[E, W]) keepPace(ln *line[E, W]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &ln.pace
	now := time.Now()
	p.count(now)
	for begun := 0; len(p.queue) > 0 && p.credit >= 1 && ln.roomLocked(begun, now); {
		if l.unlocked(p.pop().start) {
			p.credit--
			begun++
		}
	}
	p.looking = len(p.queue) > 0 && ln.roomLocked(0, now)
	if p.looking {
		wait := time.Duration((1 - p.credit) / p.rate * float64(time.Second))
		p.timer = time.AfterFunc(max(wait, paceStep), func() { l.keepPace(ln) })
	}
	l.forgetLocked(ln)
}

// unlocked calls f without the lock.
func (l *Lines[E, W]) unlocked(f func() bool) bool {
	l.mu.Unlock()
	defer l.mu.Lock()
	return f()
}
