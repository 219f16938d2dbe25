package sqlstore

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// A ListenFunc listens to channel, a name that needs no quotes, on a connection of its own,
// until ctx ends, which is an error like any other. It calls heard with "" as soon as it
// listens, and then with the payload of each notification; heard does not wait. It may return
// earlier, as when the program closes the database: then it is called again, a quarter of a second
// later, if somebody waits.
type ListenFunc func(ctx context.Context, channel string, heard func(payload string)) error

const (
	listenAgain = 250 * time.Millisecond // the pause before a ListenFunc that has failed is called again
	listenOn    = 5 * time.Minute        // after the last watch: a connection costs PostgreSQL a process
)

// A notifier is a table whose swaps are told to who waits for them.
type notifier struct {
	*table
	listen  ListenFunc
	channel string

	mu      sync.Mutex                     // guards what follows
	watches map[string]map[*watch]struct{} // by key; none is empty
	now     *listening                     // nil: nobody listens
}

var _ store.Notifier = (*notifier)(nil)

// A watch is somebody who waits for a key.
type watch struct{ changed func() }

// A listening begins with a watch, and ends some time after the last one, or as soon as it
// fails when there is none.
type listening struct {
	hears atomic.Bool
	end   context.CancelFunc
	idle  *time.Timer // ends it; stopped while there are watches
}

// newNotifier makes t tell of its swaps: a second statement would cost a round trip, and could
// get lost.
func newNotifier(t *table, listen ListenFunc) *notifier {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(t.name))
	n := &notifier{table: t, listen: listen, channel: fmt.Sprintf("silentrefresh_%016x", sum.Sum64())}
	for _, text := range []*string{&t.insert, &t.update} {
		*text = fmt.Sprintf("WITH done AS (%s RETURNING k) SELECT pg_notify('%s', k) FROM done", *text, n.channel)
	}
	return n
}

// Watch listens.
func (n *notifier) Watch(key string, changed func()) (hears func() bool, stop func()) {
	w := &watch{changed}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.now == nil {
		n.now = n.beginLocked()
	}
	n.now.idle.Stop() // or it ends all the same, and who waits looks
	if n.watches == nil {
		n.watches = make(map[string]map[*watch]struct{})
	}
	if n.watches[key] == nil {
		n.watches[key] = make(map[*watch]struct{})
	}
	n.watches[key][w] = struct{}{}
	return n.now.hears.Load, func() { n.unwatch(key, w) }
}

func (n *notifier) beginLocked() *listening {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listening{end: cancel}
	l.idle = time.AfterFunc(listenOn, func() { n.endIfIdle(l) })
	go n.run(ctx, l)
	return l
}

func (n *notifier) unwatch(key string, w *watch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if delete(n.watches[key], w); len(n.watches[key]) == 0 {
		delete(n.watches, key)
	}
	if len(n.watches) == 0 && n.now != nil {
		n.now.idle.Reset(listenOn)
	}
}

// endIfIdle ends l unless there are watches, and reports whether it has ended.
func (n *notifier) endIfIdle(l *listening) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.watches) > 0 {
		return false
	}
	if n.now == l {
		n.now = nil
	}
	l.idle.Stop()
	l.end()
	return true
}

// run listens until l ends.
func (n *notifier) run(ctx context.Context, l *listening) {
	for ctx.Err() == nil {
		n.listenOnce(ctx, l)
		l.hears.Store(false)
		if n.endIfIdle(l) {
			return
		}
		select {
		case <-time.After(listenAgain):
		case <-ctx.Done():
		}
	}
}

func (n *notifier) listenOnce(ctx context.Context, l *listening) {
	defer func() { _ = recover() }() // of the caller's function: who waits asks
	_ = n.listen(ctx, n.channel, func(payload string) {
		l.hears.Store(true)
		n.tell(payload)
	})
}

// tell calls who waits for key; all, if it is empty. It is told of each swap of the table, in
// whatever process, and few of them are waited for here.
func (n *notifier) tell(key string) {
	var calls []func()
	n.mu.Lock()
	told := n.watches
	if key != "" {
		told = map[string]map[*watch]struct{}{key: n.watches[key]}
	}
	for _, watches := range told {
		for w := range watches {
			calls = append(calls, w.changed)
		}
	}
	n.mu.Unlock()
	for _, call := range calls {
		call()
	}
}
