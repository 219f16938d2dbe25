package processes_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// newPromisingWorld returns one whose processes promise that requests of the dead end soon.
// RefreshTimeout is an hour: who waits for the end of a hold is not served.
func newPromisingWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.Base.RefreshTimeout = time.Hour
	w.Base.DeadRequestsEndWithin = 20 * time.Millisecond
	return w
}

// TestDeadRequestsHolderKilled kills the process in the middle of the call that everybody
// waits for. The gate drops its request, as promised, and the others are served without
// waiting for what is left of the hour.
func TestDeadRequestsHolderKilled(t *testing.T) {
	t.Parallel()
	w := newPromisingWorld(t)
	holder, others := w.refreshing(t, processes.BeforeServer, 7)
	gets := processes.OrderAll(t, others, processes.Order{Do: "get"})
	holder.Kill()
	for _, q := range gets {
		q.Wait(t).WantServed(t, q.Process.Name, "alice")
	}
	w.WantRefreshes(t, 1, 0)
	if calls := w.Gate.History(); len(calls) != 2 || !calls[0].Passed.IsZero() {
		t.Errorf("%d presentations, want that of the holder, which was dropped, and another", len(calls))
	}
	w.wantStored(t, tokenclient.Active, 2)
}

// TestDeadRequestsEachKilled kills each process that comes next, again and again: each takes
// over from a dead one, and all presentations are announced.
func TestDeadRequestsEachKilled(t *testing.T) {
	t.Parallel()
	w := newPromisingWorld(t)
	kills := rounds(8, 3)
	holder, _ := w.refreshing(t, processes.BeforeServer, 0)
	for n := 1; ; n++ {
		if a := w.stored(t).Announced; a != n {
			t.Errorf("%d presentations are announced, want %d", a, n)
		}
		holder.Kill()
		if n == kills {
			break
		}
		held := w.Gate.HoldNext(processes.BeforeServer)
		holder.Process = w.Start(t, nil)
		holder.Order(t, processes.Order{Do: "get"})
		held.WaitReached(t)
	}
	last := w.Start(t, nil)
	last.Get(t).WantServed(t, last.Name, "alice")
	w.WantRefreshes(t, 1, 0)
	w.wantStored(t, tokenclient.Active, 2)
}

// TestDeadRequestsHolderLives: a holder that is slow or stopped has not died, and nobody
// takes over from it.
func TestDeadRequestsHolderLives(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		for _, stage := range []processes.Stage{processes.BeforeServer, processes.AfterServer} {
			t.Run(map[bool]string{false: "slow", true: "stopped"}[stopped]+map[processes.Stage]string{
				processes.BeforeServer: " before the server rotated", processes.AfterServer: " after that"}[stage], func(t *testing.T) {
				t.Parallel()
				w := newPromisingWorld(t)
				holder, others := w.refreshing(t, stage, 3)
				if stopped {
					holder.Stop()
					holder.WaitStopped(t)
				}
				for _, q := range processes.OrderAll(t, others, processes.Order{Do: "get", Timeout: 300 * time.Millisecond}) {
					q.Wait(t).WantKind(t, q.Process.Name, "DeadlineExceeded")
				}
				if n := w.Gate.Begun(); n != 1 {
					t.Errorf("%d presentations while the holder lived, want its own only", n)
				}
				long := processes.OrderAll(t, others, processes.Order{Do: "get"})
				if stopped {
					holder.Resume()
				}
				holder.held.Release()
				holder.get.Wait(t).WantServed(t, holder.Name, "alice")
				for _, q := range long {
					q.Wait(t).WantServed(t, q.Process.Name, "alice")
				}
				w.WantRefreshes(t, 1, 0)
				w.wantStored(t, tokenclient.Active, 2)
			})
		}
	}
}

// TestDeadRequestsKilledWhileStopped: from then on it is dead.
func TestDeadRequestsKilledWhileStopped(t *testing.T) {
	t.Parallel()
	w := newPromisingWorld(t)
	holder, others := w.refreshing(t, processes.BeforeServer, 1)
	holder.Stop()
	holder.WaitStopped(t)
	get := others[0].Order(t, processes.Order{Do: "get"})
	holder.Kill()
	get.Wait(t).WantServed(t, others[0].Name, "alice")
	w.WantRefreshes(t, 1, 0)
}

// TestDeadRequestsKilledInTheGap kills the holder after the server has rotated and before the
// save. Nobody has the new pair, and the next process presents the old token: without a grace
// period the session is lost, as it is without the promise. With one it is kept, because the
// next one comes in time.
func TestDeadRequestsKilledInTheGap(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, 10 * time.Minute} { // less than the hour
		t.Run("grace "+grace.String(), func(t *testing.T) {
			t.Parallel()
			w := newPromisingWorld(t)
			w.Server.Set(func(o *tokentest.Options) { o.ReuseGrace = grace })
			holder, others := w.refreshing(t, processes.AfterServer, 1)
			get := others[0].Order(t, processes.Order{Do: "get"})
			holder.Kill()
			a := get.Wait(t)
			if grace == 0 {
				a.WantKind(t, others[0].Name, "ErrLoginRequired")
				w.WantRefreshes(t, 2, 1)
				w.wantStored(t, tokenclient.Refused, 1)
				return
			}
			a.WantServed(t, others[0].Name, "alice")
			w.wantStored(t, tokenclient.Active, 2)
		})
	}
}

// TestDeadRequestsBrokenPromise is the risk: the server carries out the request of the dead
// process after that of the next one, and ends the session.
func TestDeadRequestsBrokenPromise(t *testing.T) {
	t.Parallel()
	w := newPromisingWorld(t)
	w.Gate.CarryOut = true
	holder, others := w.refreshing(t, processes.BeforeServer, 1)
	get := others[0].Order(t, processes.Order{Do: "get"})
	holder.Kill()
	get.Wait(t).WantServed(t, others[0].Name, "alice")
	w.wantStored(t, tokenclient.Active, 2)
	holder.held.Release()
	w.WantRefreshes(t, 2, 1)
	w.Server.RevokeAccess("alice")
	others[0].Get(t).WantKind(t, "after the reuse", "ErrLoginRequired")
}

// TestDeadRequestsNotPromised: whoever does not promise waits for the whole hold.
func TestDeadRequestsNotPromised(t *testing.T) {
	t.Parallel()
	w := newPromisingWorld(t)
	w.Base.DeadRequestsEndWithin = 0
	holder, others := w.refreshing(t, processes.BeforeServer, 1)
	holder.Kill()
	others[0].Do(t, processes.Order{Do: "get", Timeout: 500 * time.Millisecond}).WantKind(t, others[0].Name, "DeadlineExceeded")
	if n := w.Gate.Begun(); n != 1 {
		t.Errorf("%d presentations, want the holder's only", n)
	}
}
