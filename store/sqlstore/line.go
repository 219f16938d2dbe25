package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// A line bounds how many operations are under way at a time. Who finds no turn free waits,
// first come first served, but behind those that are urgent: what they write is nowhere else
// yet. Some turns are theirs alone, so that operations that hang do not keep them out.
type line struct {
	most int // turns
	kept int // of these, for urgent operations

	mu     sync.Mutex // guards all below; not held while waiting
	taken  int        // turns
	urgent []waiter   // in the order in which they came
	others []waiter
}

// A waiter has room for the turn that it waits for.
type waiter chan turn

// A turn is the right to one operation. Its connection is the one with which the last
// operation succeeded, if there is one: to give it back first would be to lose it, because
// of the connections that are free at a time database/sql keeps two, unless it was told to
// keep more, and closes all others.
type turn struct {
	conn *sql.Conn
	uses int // operations of conn so far
}

// maxUses is how often a connection is handed on. Only database/sql knows how old it may
// become, and looks when it gets it back.
const maxUses = 100

func newLine(most int) *line {
	l := &line{most: most}
	if most > 1 {
		l.kept = max(1, most/5)
	}
	return l
}

// enter waits for a turn, which is the caller's until leave.
func (l *line) enter(ctx context.Context) (turn, error) {
	l.mu.Lock()
	queue, free := &l.others, l.most-l.kept-l.taken
	if protocol.IsUrgent(ctx) {
		queue, free = &l.urgent, l.most-l.taken
	}
	if free > 0 && len(*queue) == 0 {
		l.taken++
		l.mu.Unlock()
		return turn{}, nil
	}
	w := make(waiter, 1)
	*queue = append(*queue, w)
	l.mu.Unlock()

	select {
	case t := <-w:
		return t, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	before := len(*queue)
	*queue = slices.DeleteFunc(*queue, func(other waiter) bool { return other == w })
	left := len(*queue) < before
	l.mu.Unlock()
	if !left {
		l.leave(<-w) // the turn came at the same moment
	}
	return turn{}, &ownError{fmt.Errorf("in line behind other operations: %w", ctx.Err())}
}

// leave gives t to the next in line, with its connection.
func (l *line) leave(t turn) {
	if t.uses >= maxUses {
		t.close()
		t = turn{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.conn != nil && len(*l.nextLocked()) == 0 {
		// Until it is given back, the turn is taken: who came would open one more.
		l.mu.Unlock()
		t.close()
		t = turn{}
		l.mu.Lock()
	}
	queue := l.nextLocked()
	l.taken--
	if len(*queue) > 0 {
		l.taken++
		(*queue)[0] <- t
		(*queue)[0] = nil // the array must not keep it
		*queue = (*queue)[1:]
	}
}

// nextLocked returns the queue whose first waiter gets the turn of who leaves; it may be empty.
func (l *line) nextLocked() *[]waiter {
	if len(l.urgent) == 0 && l.taken-1 < l.most-l.kept {
		return &l.others
	}
	return &l.urgent
}

// close gives the connection back to database/sql.
func (t turn) close() {
	if t.conn != nil {
		_ = t.conn.Close() // if it fails, the connection is gone already
	}
}

// discard closes the connection for good.
func (t turn) discard() {
	_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
	t.close()
}
