package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrClosed is the error of [Lines.Do] after [Lines.Close].
var ErrClosed = errors.New("turns: closed")

// Lines are where waiters W wait for their turns at endpoints E, a line for each
// endpoint. Make them with [New]. They are safe for concurrent use.
type Lines[E, W comparable] struct {
	most int // turns at the same time, in each line

	mu     sync.Mutex // guards all below, all lines and turns; not held during callbacks or while waiting
	lines  map[E]*line[E, W]
	closed bool
}

// New makes lines with most turns each.
func New[E, W comparable](most int) *Lines[E, W] {
	return &Lines[E, W]{most: most, lines: make(map[E]*line[E, W])}
}

// A line is that of one endpoint. Lines.mu guards it.
type line[E, W comparable] struct {
	endpoint E
	limit    int // turns at the same time: most, or less after refusals and failures
	turns    int // that are taken
	queue    []*ticket[W]
	hurries  map[W]int // how often each is waited for in somebody's turn

	strikes int       // refusals for rate in a row
	struck  time.Time // when the last one came
	resume  time.Time // no turn begins before
	waker   *time.Timer
	waking  bool // waker is set, and looks again when resume has come

	pace pace
}

// A ticket is a place in line.
type ticket[W comparable] struct {
	who     W
	ready   chan struct{} // closed when it has its turn, or never gets one
	granted bool          // written before ready is closed
}

// atLocked returns the line of endpoint.
func (l *Lines[E, W]) atLocked(endpoint E) *line[E, W] {
	ln := l.lines[endpoint]
	if ln == nil {
		ln = &line[E, W]{endpoint: endpoint, limit: l.most, hurries: make(map[W]int)}
		l.lines[endpoint] = ln
	}
	return ln
}

// forgetLocked forgets ln if nobody is in it and nothing is going to look at it.
func (l *Lines[E, W]) forgetLocked(ln *line[E, W]) {
	if ln.turns == 0 && len(ln.queue) == 0 && len(ln.hurries) == 0 && !ln.waking &&
		len(ln.pace.queue) == 0 && !ln.pace.looking && l.lines[ln.endpoint] == ln {
		delete(l.lines, ln.endpoint)
	}
}

// wait waits for who's turn at endpoint, in front of the others if front is set. The turn
// is lost if its attempt has not begun after patience.
func (l *Lines[E, W]) wait(ctx context.Context, endpoint E, who W, front bool, patience time.Duration) (*Turn[E, W], error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	ln := l.atLocked(endpoint)
	tk := &ticket[W]{who: who, ready: make(chan struct{})}
	switch {
	case ln.hurries[who] > 0:
		ln.grantLocked(tk)
	case front:
		ln.queue = slices.Insert(ln.queue, 0, tk)
	default:
		ln.queue = append(ln.queue, tk)
	}
	l.advanceLocked(ln)
	l.mu.Unlock()

	select {
	case <-tk.ready:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := ctx.Err()
	switch {
	case tk.granted && err == nil:
		t := &Turn[E, W]{lines: l, line: ln, taken: true}
		t.timer = time.AfterFunc(patience, t.expire)
		return t, nil
	case tk.granted:
		ln.turns--
	case err == nil:
		err = ErrClosed
	}
	ln.queue = slices.DeleteFunc(ln.queue, func(t *ticket[W]) bool { return t == tk })
	l.advanceLocked(ln)
	return nil, err
}

// grantLocked gives the ticket a turn.
func (ln *line[E, W]) grantLocked(tk *ticket[W]) {
	ln.turns++
	tk.granted = true
	close(tk.ready)
}

// freeLocked reports whether one more may have a turn.
func (ln *line[E, W]) freeLocked(now time.Time) bool {
	return ln.turns < ln.limit && !now.Before(ln.resume)
}

// advanceLocked gives turns to the first in line. It is called whenever something has
// changed that they wait for, and what can wait looks again then too.
func (l *Lines[E, W]) advanceLocked(ln *line[E, W]) {
	now := time.Now()
	for len(ln.queue) > 0 && ln.freeLocked(now) {
		ln.grantLocked(ln.queue[0])
		ln.queue[0] = nil // the array must not keep it
		ln.queue = ln.queue[1:]
	}
	if wait := ln.resume.Sub(now); wait > 0 && !ln.waking && !l.closed {
		ln.waking = true
		ln.waker = time.AfterFunc(wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			ln.waking = false
			l.advanceLocked(ln)
		})
	}
	l.lookLocked(ln)
	l.forgetLocked(ln)
}

// Hurry lets who have turns at endpoint at once, now and until done is called. It is for
// who is waited for in a turn of somebody else's.
func (l *Lines[E, W]) Hurry(endpoint E, who W) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.atLocked(endpoint)
	ln.hurries[who]++
	for _, tk := range ln.queue {
		if tk.who == who {
			ln.grantLocked(tk)
		}
	}
	ln.queue = slices.DeleteFunc(ln.queue, func(tk *ticket[W]) bool { return tk.granted })
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if ln.hurries[who]--; ln.hurries[who] == 0 {
			delete(ln.hurries, who)
		}
		l.forgetLocked(ln)
	}
}

// Count returns how many turns are taken, and how many attempts wait: for a turn, or
// until there is room.
func (l *Lines[E, W]) Count() (turns, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.lines {
		turns += ln.turns
		waiting += len(ln.queue) + len(ln.pace.queue)
	}
	return turns, waiting
}

// Close sends everybody away who waits. Turns that are taken may still be used.
func (l *Lines[E, W]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, ln := range l.lines {
		for _, tk := range ln.queue {
			close(tk.ready)
		}
		ln.queue = nil
		if ln.waking && ln.waker.Stop() {
			ln.waking = false
		}
		ln.pace.close()
		l.forgetLocked(ln)
	}
}
