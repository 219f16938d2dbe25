package processes_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestLostAnswerCallerWithDeadline has callers who can wait 10 ms for a
// refresh that takes as long as it likes. Each is free within its deadline, and the
// refresh that the first of them began ends well without them: the next process
// needs none. A library that ties the refresh to its caller loses the session here.
func TestLostAnswerCallerWithDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	held := w.Gate.HoldNext(processes.AfterServer)
	p := w.Start(t, nil)
	p.Do(t, processes.Order{Do: "peek"}).Want(t, "peek")
	const deadline = 10 * time.Millisecond
	hurried := func() processes.Answer {
		a := p.Do(t, processes.Order{Do: "get", Timeout: deadline})
		a.WantKind(t, p.Name, "DeadlineExceeded")
		return a
	}
	processes.Eventually(t, "a hurried caller begins a refresh", func() bool {
		hurried()
		return w.Gate.Begun() > 0 || t.Failed()
	})
	held.WaitReached(t) // the server has rotated, and nobody waits for the answer

	var took []time.Duration
	for range 15 {
		took = append(took, hurried().Took)
	}
	// The fastest: a busy machine does not always let a process run.
	if fastest := slices.Min(took); fastest > 200*time.Millisecond {
		t.Errorf("callers with a deadline of %v were free after %v", deadline, fastest)
	}
	closing := p.Order(t, processes.Order{Do: "close"})
	processes.Eventually(t, "the session is closed", func() bool { return p.Get(t).Is("ErrClosed") })
	held.Release()
	closing.Wait(t).Want(t, "Close, which waits for the refresh")
	w.wantStored(t, tokenclient.Active, 2)
	w.Start(t, nil).Get(t).WantServed(t, "the next process", "alice")
	w.WantRefreshes(t, 1, 0)
}

// TestLostAnswerCallerKilledWaiting kills a process that only waits for
// another's refresh: it must take nothing with it.
func TestLostAnswerCallerKilledWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	holder, others := w.refreshing(t, processes.AfterServer, 1)
	waiter := others[0]
	waiter.Do(t, processes.Order{Do: "get", Timeout: 20 * time.Millisecond}).WantKind(t, waiter.Name, "DeadlineExceeded")
	waiter.Order(t, processes.Order{Do: "get"})
	waiter.Kill()
	holder.held.Release()
	holder.get.Wait(t).WantServed(t, holder.Name, "alice")
	w.WantRefreshes(t, 1, 0)
	w.wantStored(t, tokenclient.Active, 2)
}

// TestLostAnswerWindow kills the holder after the server has rotated and
// before it has answered: this session cannot be saved. What can be asked for is
// that the processes that wait find out by one presentation together, that all say
// so clearly, that none tries again, and that one login brings all back.
func TestLostAnswerWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Base.RefreshTimeout = 5 * time.Second // the holder must not give up before it is killed
	holder, others := w.refreshing(t, processes.AfterServer, 4)
	holder.Kill()
	for range 2 {
		for _, q := range processes.OrderAll(t, others, processes.Order{Do: "get"}) {
			q.Wait(t).WantKind(t, q.Process.Name, "ErrLoginRequired")
		}
	}
	w.WantRefreshes(t, 2, 1)
	w.wantStored(t, tokenclient.Refused, 1)

	w.login(t, "alice")
	for _, p := range others {
		processes.Eventually(t, p.Name+" notices the login", func() bool { return p.Get(t).Status == 200 })
	}
	w.WantRefreshes(t, 2, 1)
}

// TestLostAnswerCut cuts the connection after the server has rotated. The
// token is presented once more, since the request may have been what got lost: at a
// server with a grace period that saves the session, at a strict one it ends it.
// However many processes wait, there is no third time.
func TestLostAnswerCut(t *testing.T) {
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
			w.Server.Set(func(o *tokentest.Options) { o.ReuseGrace = tc.grace })
			w.loginExpired(t, "alice")
			w.Server.FailRefresh(1, tokentest.Fault{Cut: true, AfterCommit: true})
			agents := w.StartAll(t, 6, nil)
			for _, q := range processes.OrderAll(t, agents, processes.Order{Do: "get"}) {
				if tc.reuses == 0 {
					q.Wait(t).WantServed(t, q.Process.Name, "alice")
				} else {
					q.Wait(t).WantKind(t, q.Process.Name, "ErrLoginRequired")
				}
			}
			w.WantRefreshes(t, 2, tc.reuses)
		})
	}
}
