package turns

import (
	"context"
	"time"
)

const (
	patience     = time.Second // how long a turn waits for its attempt; doubles if that was too short
	maxDoublings = 6

	waitFirst   = time.Second     // that all wait after a refusal for rate that does not say how long
	waitLongest = time.Minute     // that all wait, however long the endpoint asked for
	slowFirst   = 5 * time.Second // and after the first refusal in a row
)

// A Turn lets its owner make one attempt. Lines.mu guards it.
type Turn[E, W comparable] struct {
	lines *Lines[E, W]
	line  *line[E, W]
	taken bool
	late  bool // Begin came when it had gone to somebody else
	timer *time.Timer
	began time.Time // the attempt; zero: not yet
}

// Do calls f when who has a turn at endpoint. f gets everything ready, calls [Turn.Begin]
// right before the attempt and [Turn.End] after it. If Begin returns false f returns
// without an attempt, and is called again in who's next turn. The first turn comes in
// front of the line, too, if again is set: for a second attempt that must not wait long
// after the first.
//
// The error is ctx's, if that ends before there is a turn, or ErrClosed. It is nil if f
// was called and did not lose its turn, whatever it did.
func (l *Lines[E, W]) Do(ctx context.Context, endpoint E, who W, again bool, f func(*Turn[E, W])) error {
	for lost := 0; ; lost++ {
		t, err := l.wait(ctx, endpoint, who, again || lost > 0, patience<<min(lost, maxDoublings))
		if err != nil {
			return err
		}
		if t.use(f) {
			return nil
		}
	}
}

// use calls f with t and reports whether it was not late.
func (t *Turn[E, W]) use(f func(*Turn[E, W])) bool {
	defer t.End(Outcome{})
	f(t)
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	return !t.late
}

// Begin reports whether the attempt may begin: the turn is still there, or another one is
// free.
func (t *Turn[E, W]) Begin() bool {
	t.timer.Stop()
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	if !t.taken {
		t.line = t.lines.atLocked(t.line.endpoint) // it may have been forgotten
		if t.line.freeLocked(time.Now()) {
			t.line.turns++
			t.taken = true
		}
		t.lines.forgetLocked(t.line)
	}
	t.began, t.late = time.Now(), !t.taken
	return t.taken
}

// expire gives the turn to somebody else if its attempt has not begun.
func (t *Turn[E, W]) expire() {
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	if t.began.IsZero() {
		t.giveBackLocked()
	}
}

// End ends the turn, unless it has ended, with what its attempt came to.
func (t *Turn[E, W]) End(o Outcome) {
	t.timer.Stop()
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	if t.taken && !t.began.IsZero() {
		t.line.learnLocked(o, t.began, t.lines.most, time.Now())
	}
	t.giveBackLocked()
}

func (t *Turn[E, W]) giveBackLocked() {
	if t.taken {
		t.taken = false
		t.line.turns--
		t.lines.advanceLocked(t.line)
	}
}

// An Outcome is what an attempt came to, as far as it says something about the endpoint.
// The zero Outcome says nothing.
type Outcome struct {
	Answer Answer

	// RetryAfter is how long the endpoint asked to wait. 0: it did not.
	RetryAfter time.Duration
}

// An Answer is what kind of answer an endpoint gave.
type Answer int

// The kinds of answers.
const (
	Unknown Answer = iota // nothing is known, or there was no attempt
	Served                // it did its work, be it by a refusal that says nothing of rate
	TooMany               // it refused for rate; whatever asks to wait is that too
	Down                  // it gave no answer, or said that it cannot work
)

// learnLocked notes what an attempt came to that began at began. A line has at most so
// many turns.
func (ln *line[E, W]) learnLocked(o Outcome, began time.Time, most int, now time.Time) {
	switch {
	case o.Answer == TooMany || o.RetryAfter > 0:
		if !began.After(ln.struck) {
			return // it was under way when the last one came, and says the same
		}
		doublings := min(ln.strikes, 10)
		longest := min(slowFirst<<doublings, waitLongest)
		wait := max(o.RetryAfter, waitFirst<<doublings)
		ln.strikes++
		ln.struck, ln.resume, ln.limit = now, now.Add(min(wait, longest)), 1
	case o.Answer == Down:
		// The fewer ask, the sooner it is up again.
		ln.limit = max(ln.limit/2, 1)
	case o.Answer == Served:
		ln.strikes, ln.limit = 0, min(ln.limit+1, most)
	}
}
