package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

const (
	turnPatience = time.Second     // how long a turn waits for the Store's hold on its key; doubles if that was too short
	maxTurnsLost = 6               // that it doubles for
	slowFirst    = 5 * time.Second // the longest that all wait after the first refusal for rate
)

// errNoTurn is the result of a refresh that was not begun because its pool closed.
var errNoTurn = fmt.Errorf("%w: the pool is closed", ErrClosed)

// lines are where the refreshes of a Pool's sessions wait for their turn, a line for
// each token endpoint.
type lines struct {
	pool *Pool
	max  int // turns at the same time, in each line

	mu     sync.Mutex // guards all below, and all lines; not held during I/O or while waiting
	lines  map[origin.Origin]*line
	closed bool
	coming map[origin.Origin]*forecast
	lookAt time.Time // when there is to be a new one
}

// endpoint is where s refreshes, as far as is known.
func (s *Session) endpoint() origin.Origin { return s.rules.Endpoint() }

// A line is that of one token endpoint. It is forgotten when nothing is in it.
//
// An endpoint that says 429 may mean one user or all of them. So all wait, not for
// long at first, and then one goes: if it succeeds the others follow, one more at a
// time with each success, and if it is refused for rate too all wait longer. Of an
// endpoint that gives no answer, or a 5xx, less is asked with each.
type line struct {
	endpoint origin.Origin
	limit    int // turns at the same time, lower after a refusal for rate and in an outage
	turns    int // that are taken
	queue    []*ticket
	urgent   map[*Session]int // how many refreshes under way wait for each

	strikes int       // refusals for rate in a row
	struck  time.Time // when the last one came
	resume  time.Time // no turn begins before
	waking  bool      // a timer is going to look again when that has come

	pace pace
}

// A ticket is a refresh in line.
type ticket struct {
	session *Session
	ready   chan struct{} // closed when it has its turn, or never gets one
	granted bool          // written before ready is closed
}

// A turn lets one refresh present its token. lines.mu guards it.
//
// It is taken before the Store is asked for the hold on the key, because with the hold
// the presentation is announced and must follow at once. But the hold may be with
// another process, or with one that was killed, for as long as half a minute: a turn
// that has not come to its presentation after turnPatience goes to somebody else. The
// next one of that refresh has more patience, so that a slow Store is no dead end.
type turn struct {
	lines *lines
	line  *line
	taken bool
	timer *time.Timer
	began time.Time // of the presentation
}

// exchangeInTurn is exchange when it is the session's turn, which comes first if it had
// one just now.
func (s *Session) exchangeInTurn(lifetime context.Context, seen Record, again bool, fn func(context.Context, Record) (*Token, error)) (Record, error) {
	if s.pool == nil {
		return s.exchange(lifetime, seen, s.timeout, fn)
	}
	for lost := 0; ; lost++ {
		t, err := s.pool.lines.wait(lifetime, s, again || lost > 0, turnPatience<<min(lost, maxTurnsLost))
		if err != nil {
			return Record{}, err
		}
		late := false
		r, err := s.exchange(lifetime, seen, s.timeout, func(ctx context.Context, current Record) (made *Token, err error) {
			if !t.begin() {
				late = true
				return nil, asTokenError(errTurnLost, current.Token)
			}
			defer func() { t.end(err) }()
			return fn(context.WithValue(ctx, insideTurn{}, true), current)
		})
		t.end(nil)
		if !late {
			return r, err
		}
	}
}

// errTurnLost makes the Store take the announcement back.
var errTurnLost = fmt.Errorf("%w: its turn was over before the store let it", ErrNotPresented)

// insideTurn marks the contexts of Refreshers whose session has a turn.
type insideTurn struct{}

// hurry lets s refresh out of turn, as soon as it wants to and until done is called,
// if somebody who waits for it has a turn: they could be waiting for each other.
func (s *Session) hurry(ctx context.Context) (done func()) {
	if s.pool == nil || ctx.Value(insideTurn{}) == nil {
		return func() {}
	}
	l := s.pool.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lineLocked(s)
	ln.urgent[s]++
	if i := slices.IndexFunc(ln.queue, func(t *ticket) bool { return t.session == s }); i >= 0 {
		t := ln.queue[i]
		ln.queue = slices.Delete(ln.queue, i, i+1)
		ln.grantLocked(t)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if ln.urgent[s]--; ln.urgent[s] == 0 {
			delete(ln.urgent, s)
		}
		l.forgetLocked(ln)
	}
}

// lineLocked returns s's line.
func (l *lines) lineLocked(s *Session) *line { return l.lineToLocked(s.endpoint()) }

func (l *lines) lineToLocked(endpoint origin.Origin) *line {
	ln := l.lines[endpoint]
	if ln == nil {
		ln = &line{endpoint: endpoint, limit: l.max, urgent: make(map[*Session]int)}
		l.lines[endpoint] = ln
	}
	return ln
}

// forgetLocked forgets ln if there is nothing to remember.
func (l *lines) forgetLocked(ln *line) {
	if ln.turns == 0 && len(ln.queue) == 0 && len(ln.urgent) == 0 && len(ln.pace.queue) == 0 && !ln.waking &&
		l.lines[ln.endpoint] == ln {
		delete(l.lines, ln.endpoint)
	}
}

// wait waits in line for s's turn, in front if it had one already. The caller begins
// the presentation within patience, and ends the turn.
func (l *lines) wait(ctx context.Context, s *Session, front bool, patience time.Duration) (*turn, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errNoTurn
	}
	ln := l.lineLocked(s)
	tk := &ticket{session: s, ready: make(chan struct{})}
	switch {
	case ln.urgent[s] > 0:
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
	switch {
	case tk.granted && ctx.Err() != nil:
		ln.turns--
	case tk.granted:
		t := &turn{lines: l, line: ln, taken: true}
		t.timer = time.AfterFunc(patience, t.expire)
		return t, nil
	default:
		if i := slices.Index(ln.queue, tk); i >= 0 {
			ln.queue = slices.Delete(ln.queue, i, i+1)
		}
	}
	l.advanceLocked(ln)
	return nil, errNoTurn // ctx is the session's, which has been closed
}

// grantLocked gives the ticket a turn.
func (ln *line) grantLocked(t *ticket) {
	ln.turns++
	t.granted = true
	close(t.ready)
}

// freeLocked reports whether one more may have a turn.
func (ln *line) freeLocked(now time.Time) bool { return ln.turns < ln.limit && !now.Before(ln.resume) }

// advanceLocked gives turns to the first in line.
func (l *lines) advanceLocked(ln *line) {
	now := time.Now()
	n := 0
	for n < len(ln.queue) && ln.freeLocked(now) {
		ln.grantLocked(ln.queue[n])
		n++
	}
	ln.queue = slices.Delete(ln.queue, 0, n)
	if wait := ln.resume.Sub(now); wait > 0 && !ln.waking {
		ln.waking = true
		time.AfterFunc(wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			ln.waking = false
			l.advanceLocked(ln)
		})
	}
	l.forgetLocked(ln)
}

// begin reports whether the presentation may begin.
func (t *turn) begin() bool {
	t.timer.Stop()
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	if !t.taken {
		t.line = t.lines.lineToLocked(t.line.endpoint) // it may have been forgotten
		if t.line.freeLocked(time.Now()) {
			t.line.turns++
			t.taken = true
		}
	}
	t.began = time.Now()
	return t.taken
}

func (t *turn) expire() {
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	if t.began.IsZero() {
		t.giveBackLocked()
	}
}

func (t *turn) giveBackLocked() {
	if t.taken {
		t.taken = false
		t.line.turns--
		t.lines.advanceLocked(t.line)
	}
}

// end ends a turn, unless it has ended, with what its presentation came to.
func (t *turn) end(err error) {
	t.timer.Stop()
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	if t.taken && !t.began.IsZero() {
		t.line.judge(t.began, err, t.lines.max, time.Now())
	}
	t.giveBackLocked()
}

// judge notes what the endpoint answered to a presentation.
func (ln *line) judge(began time.Time, err error, most int, now time.Time) {
	var te *TokenError
	answered := errors.As(err, &te)
	switch {
	case answered && (te.StatusCode == 429 || te.RetryAfter > 0):
		if began.Before(ln.struck) {
			return // it was under way when the last one came, and says the same
		}
		longest := min(slowFirst<<min(ln.strikes, 10), backoffMax)
		wait := max(te.RetryAfter, backoffFirst<<min(ln.strikes, 10))
		ln.strikes++
		ln.struck, ln.resume, ln.limit = now, now.Add(min(wait, longest)), 1
	case answered && (te.StatusCode == 0 || te.StatusCode >= 500):
		// It is down, or about to be. The fewer ask, the sooner it is up again.
		ln.limit = max(ln.limit/2, 1)
	case err == nil, answered && te.StatusCode >= 400 && te.StatusCode < 500:
		ln.strikes, ln.limit = 0, min(ln.limit+1, most)
	}
}

// count returns how many refreshes have a turn, and how many wait for one.
func (l *lines) count() (turns, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.lines {
		turns += ln.turns
		waiting += len(ln.queue) + len(ln.pace.queue)
	}
	return turns, waiting
}

// close sends everybody away who is in line.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, ln := range l.lines {
		for _, t := range ln.queue {
			close(t.ready)
		}
		ln.queue, ln.pace.queue = nil, nil
		l.forgetLocked(ln)
	}
}
