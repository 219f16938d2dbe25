package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/sqlstore"
)

// A listener is a ListenFunc, and what a test does to it.
type listener struct {
	mu      sync.Mutex
	begun   int
	now     int
	heard   func(string)
	channel string
	fail    chan error
}

func (l *listener) listen(ctx context.Context, channel string, heard func(string)) error {
	l.mu.Lock()
	l.begun++
	l.now++
	l.heard, l.channel = heard, channel
	fail := l.fail
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.now--
	}()
	heard("")
	select {
	case err := <-fail:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *listener) tell(payload string) {
	l.mu.Lock()
	heard := l.heard
	l.mu.Unlock()
	heard(payload)
}

func (l *listener) want(t *testing.T, when string, begun, now int) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun != begun || l.now != now {
		t.Errorf("%s: it listened %d times, and does so %d times now; want %d and %d", when, l.begun, l.now, begun, now)
	}
}

// A told counts the calls of one watch.
type told struct {
	mu sync.Mutex
	n  int
}

func (c *told) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *told) want(t *testing.T, when string, n int) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n != n {
		t.Errorf("%s: told %d times, want %d", when, c.n, n)
	}
}

func newNotifier(t *testing.T, listen sqlstore.ListenFunc) store.Notifier {
	t.Helper()
	db := sql.OpenDB(connector{version: "3.51.3"})
	t.Cleanup(func() { _ = db.Close() })
	kv, err := sqlstore.Options{Listen: listen}.New(db, sqlstore.PostgreSQL, "tokens")
	if err != nil {
		t.Fatal(err)
	}
	return kv.(store.Notifier)
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{fail: make(chan error)}
		n := newNotifier(t, l.listen)
		l.want(t, "nobody waits", 0, 0)

		var a, b told
		hears, stopA := n.Watch("a", a.changed)
		_, stopB := n.Watch("b", b.changed)
		l.want(t, "two wait", 1, 1)
		if !hears() || !strings.HasPrefix(l.channel, "silentrefresh_") {
			t.Errorf("hears %v, on channel %q", hears(), l.channel)
		}
		a.want(t, "it listens", 1)
		b.want(t, "it listens", 1)
		l.tell("a")
		a.want(t, "a has changed", 2)
		b.want(t, "a has changed", 1)
		var c told
		_, stopC := n.Watch("b", c.changed)
		stopB()
		l.tell("b")
		b.want(t, "b waits no more", 1)
		c.want(t, "another waits for the same key", 1)
		stopC()
		l.tell("b")
		c.want(t, "nobody waits for that key", 1)

		l.fail <- errors.New("the connection broke")
		synctest.Wait()
		if hears() {
			t.Error("it hears without a connection")
		}
		time.Sleep(time.Second)
		l.want(t, "the connection broke", 2, 1)
		a.want(t, "it listens again", 3)

		stopA()
		time.Sleep(4 * time.Minute)
		l.want(t, "soon after the last watch", 2, 1)
		_, stopA = n.Watch("a", a.changed)
		time.Sleep(10 * time.Minute)
		l.want(t, "while there is one", 2, 1)
		stopA()
		time.Sleep(6 * time.Minute)
		l.want(t, "long after it", 2, 0)

		_, stopA = n.Watch("a", a.changed)
		l.want(t, "the next one", 3, 1)
		stopA()
		l.fail <- errors.New("the connection broke")
		time.Sleep(time.Second)
		l.want(t, "it broke, and nobody waits", 3, 0)
	})
}

// TestListenPanics: who waits looks, and the program goes on.
func TestListenPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier(t, func(context.Context, string, func(string)) error { panic("listen") })
		hears, stop := n.Watch("a", func() {})
		time.Sleep(time.Second)
		if hears() {
			t.Error("it hears")
		}
		stop()
		time.Sleep(time.Second)
	})
}

func TestListenIsForPostgreSQL(t *testing.T) {
	db := sql.OpenDB(connector{version: "3.51.3"})
	defer db.Close()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.MariaDB} {
		kv, err := sqlstore.Options{Listen: new(listener).listen}.New(db, d, "tokens")
		if err == nil || kv != nil || !strings.Contains(err.Error(), "Options.Listen") {
			t.Errorf("dialect %d: %v", d, err)
		}
	}
}
