package processes_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestHard01LostAnswerCallerWithDeadline has callers who can wait 10 ms for a
// refresh that takes as long as it likes. Each is free within its deadline, and the
// refresh that the first of them began ends well without them: the next process
// needs none. A library that ties the refresh to its caller loses the session here.
func TestHard01LostAnswerCallerWithDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	held := w.gate.holdNext(afterServer)
	p := w.start(t, nil)
	p.do(t, order{Do: "peek"}).want(t, "peek")
	const deadline = 10 * time.Millisecond
	hurried := func() answer {
		a := p.do(t, order{Do: "get", Timeout: deadline})
		a.wantKind(t, p.name, "DeadlineExceeded")
		return a
	}
	eventually(t, "a hurried caller begins a refresh", func() bool {
		hurried()
		return w.gate.begun() > 0 || t.Failed()
	})
	held.waitReached(t) // the server has rotated, and nobody waits for the answer

	var took []time.Duration
	for range 15 {
		took = append(took, hurried().Took)
	}
	// The fastest: a busy machine does not always let a process run.
	if fastest := slices.Min(took); fastest > 200*time.Millisecond {
		t.Errorf("callers with a deadline of %v were free after %v", deadline, fastest)
	}
	closing := p.order(t, order{Do: "close"})
	eventually(t, "the session is closed", func() bool { return p.get(t).is("ErrClosed") })
	held.release()
	closing.wait(t).want(t, "Close, which waits for the refresh")
	w.wantStored(t, tokenclient.Active, 2)
	w.start(t, nil).get(t).wantOK(t, "the next process", "alice")
	w.wantRefreshes(t, 1, 0)
}

// TestHard01LostAnswerCallerKilledWaiting kills a process that only waits for
// another's refresh: it must take nothing with it.
func TestHard01LostAnswerCallerKilledWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	held := w.gate.holdNext(afterServer)
	holder, waiter := w.start(t, nil), w.start(t, nil)
	get := holder.order(t, order{Do: "get"})
	held.waitReached(t)
	waiter.do(t, order{Do: "get", Timeout: 20 * time.Millisecond}).wantKind(t, waiter.name, "DeadlineExceeded")
	waiter.order(t, order{Do: "get"})
	waiter.kill()
	held.release()
	get.wait(t).wantOK(t, holder.name, "alice")
	w.wantRefreshes(t, 1, 0)
	w.wantStored(t, tokenclient.Active, 2)
}

// TestHard01LostAnswerWindow kills the holder after the server has rotated and
// before it has answered: this session cannot be saved. What can be asked for is
// that the processes that wait find out by one presentation together, that all say
// so clearly, that none tries again, and that one login brings all back.
func TestHard01LostAnswerWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.base.RefreshTimeout = 5 * time.Second // the holder must not give up before it is killed
	w.loginExpired(t, "alice")
	agents := w.startAll(t, 5, nil)
	held := w.gate.holdNext(afterServer)
	holder, others := agents[0], agents[1:]
	holder.order(t, order{Do: "get"})
	held.waitReached(t)
	holder.kill()
	for range 2 {
		var gets []*pending
		for _, p := range others {
			gets = append(gets, p.order(t, order{Do: "get"}))
		}
		for i, q := range gets {
			q.wait(t).wantKind(t, others[i].name, "ErrLoginRequired")
		}
	}
	w.wantRefreshes(t, 2, 1)
	w.wantStored(t, tokenclient.Refused, 1)

	w.login(t, "alice")
	for _, p := range others {
		eventually(t, p.name+" notices the login", func() bool { return p.get(t).Status == 200 })
	}
	w.wantRefreshes(t, 2, 1)
}

// TestHard01LostAnswerCut cuts the connection after the server has rotated. The
// token is presented once more, since the request may have been what got lost: at a
// server with a grace period that saves the session, at a strict one it ends it.
// However many processes wait, there is no third time.
func TestHard01LostAnswerCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		grace  time.Duration
		reuses int
	}{
		{"server with a grace period", time.Minute, 0},
		{"strict server", 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.srv.Set(func(o *tokentest.Options) { o.ReuseGrace = tc.grace })
			w.loginExpired(t, "alice")
			w.srv.FailRefresh(1, tokentest.Fault{Cut: true, AfterCommit: true})
			agents := w.startAll(t, 6, nil)
			var gets []*pending
			for _, p := range agents {
				gets = append(gets, p.order(t, order{Do: "get"}))
			}
			for i, q := range gets {
				if tc.reuses == 0 {
					q.wait(t).wantOK(t, agents[i].name, "alice")
				} else {
					q.wait(t).wantKind(t, agents[i].name, "ErrLoginRequired")
				}
			}
			w.wantRefreshes(t, 2, tc.reuses)
		})
	}
}
