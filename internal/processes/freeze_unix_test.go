//go:build unix

package processes_test

import (
	"syscall"
	"testing"
	"time"
)

// TestHard02TwoProcessesHolderStoppedAnswerWaiting stops the holder for longer than its
// RefreshTimeout while the answer waits in its socket. Nobody may take over, so when
// it goes on, the answer must be used: a timeout that fires only because the process
// was stopped must not throw the session away. Twelve times, because chance decides.
func TestHard02TwoProcessesHolderStoppedAnswerWaiting(t *testing.T) {
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
	w.base.RefreshTimeout = timeout
	w.loginExpired(t, "alice")
	agents := w.startAll(t, 2, nil)
	held := w.gate.holdNext(afterServer)
	holder, other := agents[0], agents[1]
	began := time.Now()
	first := holder.order(t, order{Do: "get"})
	held.waitReached(t)
	stop(t, holder)
	if time.Since(began) > timeout {
		return false
	}
	held.release()
	w.gate.history()
	other.do(t, order{Do: "get", Timeout: 3 * timeout}).wantKind(t, "other", "DeadlineExceeded")
	long := other.order(t, order{Do: "get"})
	goesOn := time.Now()
	_ = holder.cmd.Process.Signal(syscall.SIGCONT)
	a := first.wait(t)
	if a.is("DeadlineExceeded") && time.Since(goesOn) > grace {
		return false
	}
	b := long.wait(t)
	a.wantOK(t, "the holder", "alice")
	b.wantOK(t, "the other", "alice")
	w.wantRefreshes(t, 1, 0)
	return true
}
