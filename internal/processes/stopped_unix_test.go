//go:build unix

package processes_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestTwoProcessesHolderStopped stops the process that holds the key, as ^Z
// does: it may go on at any time with a call that it has begun, so nobody may take
// over, however long it takes. The others wait, each as long as its context lasts.
func TestTwoProcessesHolderStopped(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		stage processes.Stage
	}{
		{"before the server rotated", processes.BeforeServer},
		{"after the server rotated", processes.AfterServer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			holder, others := w.refreshing(t, tc.stage, 3)
			holder.Stop()
			holder.WaitStopped(t)
			holder.held.Release() // the answer lies in wait for the holder
			w.Gate.History()
			for _, q := range processes.OrderAll(t, others, processes.Order{Do: "get", Timeout: 300 * time.Millisecond}) {
				q.Wait(t).WantKind(t, q.Process.Name, "DeadlineExceeded") // though the holder does not go on
			}
			w.WantRefreshes(t, 1, 0)

			long := processes.OrderAll(t, others, processes.Order{Do: "get"})
			holder.Resume()
			holder.get.Wait(t).WantServed(t, holder.Name, "alice")
			for _, q := range long {
				q.Wait(t).WantServed(t, q.Process.Name, "alice")
			}
			w.WantRefreshes(t, 1, 0)
			w.wantStored(t, tokenclient.Active, 2)
		})
	}
}

// TestTwoProcessesHolderStoppedLong leaves the holder stopped for longer than
// its request may take. A store that goes by time would let the next process have
// the key then, and the request of the first could still reach the server.
func TestTwoProcessesHolderStoppedLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Base.RefreshTimeout = 2 * time.Second
	holder, others := w.refreshing(t, processes.BeforeServer, 2)
	holder.Stop()
	holder.WaitStopped(t)
	for _, q := range processes.OrderAll(t, others, processes.Order{Do: "get", Timeout: 2 * w.Base.RefreshTimeout}) {
		q.Wait(t).WantKind(t, q.Process.Name, "DeadlineExceeded")
	}
	if n := w.Gate.Begun(); n != 1 {
		t.Errorf("%d presentations while the holder was stopped, want its own only", n)
	}

	holder.Resume()
	holder.get.Wait(t).WantKind(t, "the holder, whose time is over", "DeadlineExceeded")
	for _, p := range append(others, holder.Process) {
		processes.Eventually(t, p.Name+" goes on", func() bool { return p.Get(t).Status == 200 })
	}
	w.WantRefreshes(t, 1, 0) // the first one was dropped when the holder left it
	w.wantStored(t, tokenclient.Active, 2)
}

// TestTwoProcessesHolderStoppedAnswerWaiting stops the holder for longer than its
// RefreshTimeout while the answer waits in its socket. Nobody may take over, so when
// it goes on, the answer must be used: a timeout that fires only because the process
// was stopped must not throw the session away. Twelve times, because chance decides.
func TestTwoProcessesHolderStoppedAnswerWaiting(t *testing.T) {
	for range 12 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for try := 1; !stoppedWithAnswer(t); try++ {
				if try == 20 {
					t.Fatal("this machine is too slow to stop a process in the middle of a refresh")
				}
			}
		})
	}
}

// stoppedWithAnswer tries it once. It is false if that says nothing, because the
// machine was busy: the holder gave up before it was stopped, or had no time to look
// at its socket when it went on.
func stoppedWithAnswer(t *testing.T) (done bool) {
	// After it went on, the holder has a second for the answer.
	const timeout, grace = 500 * time.Millisecond, time.Second
	w := newWorld(t)
	w.Base.RefreshTimeout = timeout
	holder, others := w.refreshing(t, processes.AfterServer, 1)
	other := others[0]
	holder.Stop()
	holder.WaitStopped(t)
	if time.Since(holder.began) > timeout {
		return false
	}
	holder.held.Release()
	w.Gate.History()
	other.Do(t, processes.Order{Do: "get", Timeout: 3 * timeout}).WantKind(t, "other", "DeadlineExceeded")
	long := other.Order(t, processes.Order{Do: "get"})
	goesOn := time.Now()
	holder.Resume()
	a := holder.get.Wait(t)
	if a.Is("DeadlineExceeded") && time.Since(goesOn) > grace {
		return false
	}
	b := long.Wait(t)
	a.WantServed(t, "the holder", "alice")
	b.WantServed(t, "the other", "alice")
	w.WantRefreshes(t, 1, 0)
	return true
}
