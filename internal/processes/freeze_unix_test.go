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
			w := newWorld(t)
			w.base.RefreshTimeout = 300 * time.Millisecond
			w.loginExpired(t, "alice")
			agents := w.startAll(t, 2, nil)
			held := w.gate.holdNext(afterServer)
			holder, other := agents[0], agents[1]
			first := holder.order(t, order{Do: "get"})
			held.waitReached(t)
			stop(t, holder)
			held.release()
			w.gate.history()
			other.do(t, order{Do: "get", Timeout: 1200 * time.Millisecond}).wantKind(t, "other", "DeadlineExceeded")
			long := other.order(t, order{Do: "get"})
			_ = holder.cmd.Process.Signal(syscall.SIGCONT)
			a, b := first.wait(t), long.wait(t)
			a.wantOK(t, "the holder", "alice")
			b.wantOK(t, "the other", "alice")
			w.wantRefreshes(t, 1, 0)
		})
	}
}
