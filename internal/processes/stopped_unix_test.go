//go:build unix

package processes_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// stop stops a process and returns when it has stopped.
func stop(t testing.TB, p *process) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || !status.Stopped():
			t.Fatalf("%s did not stop: %v", p.name, err)
		default:
			return
		}
	}
}

// TestHard02TwoProcessesHolderStopped stops the process that holds the key, as ^Z
// does: it may go on at any time with a call that it has begun, so nobody may take
// over, however long it takes. The others wait, each as long as its context lasts.
func TestHard02TwoProcessesHolderStopped(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		stage stage
	}{
		{"before the server rotated", beforeServer},
		{"after the server rotated", afterServer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.loginExpired(t, "alice")
			agents := w.startAll(t, 4, nil)
			held := w.gate.holdNext(tc.stage)
			holder, others := agents[0], agents[1:]
			first := holder.order(t, order{Do: "get"})
			held.waitReached(t)
			stop(t, holder)
			held.release() // the answer lies in wait for the holder
			w.gate.history()
			var short []*pending
			for _, p := range others {
				short = append(short, p.order(t, order{Do: "get", Timeout: 300 * time.Millisecond}))
			}
			for i, q := range short {
				q.wait(t).wantKind(t, others[i].name, "DeadlineExceeded") // though the holder does not go on
			}
			w.wantRefreshes(t, 1, 0)

			var long []*pending
			for _, p := range others {
				long = append(long, p.order(t, order{Do: "get"}))
			}
			if err := holder.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			first.wait(t).wantOK(t, holder.name, "alice")
			for i, q := range long {
				q.wait(t).wantOK(t, others[i].name, "alice")
			}
			w.wantRefreshes(t, 1, 0)
			w.wantStored(t, tokenclient.Active, 2)
		})
	}
}

// TestHard02TwoProcessesHolderStoppedLong leaves the holder stopped for longer than
// its request may take. A store that goes by time would let the next process have
// the key then, and the request of the first could still reach the server.
func TestHard02TwoProcessesHolderStoppedLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.base.RefreshTimeout = 2 * time.Second
	w.loginExpired(t, "alice")
	agents := w.startAll(t, 3, nil)
	held := w.gate.holdNext(beforeServer)
	holder, others := agents[0], agents[1:]
	first := holder.order(t, order{Do: "get"})
	held.waitReached(t)
	stop(t, holder)
	var gets []*pending
	for _, p := range others {
		gets = append(gets, p.order(t, order{Do: "get", Timeout: 2 * w.base.RefreshTimeout}))
	}
	for i, q := range gets {
		q.wait(t).wantKind(t, others[i].name, "DeadlineExceeded")
	}
	if n := w.gate.begun(); n != 1 {
		t.Errorf("%d presentations while the holder was stopped, want its own only", n)
	}

	if err := holder.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	first.wait(t).wantKind(t, "the holder, whose time is over", "DeadlineExceeded")
	for _, p := range append(others, holder) {
		eventually(t, p.name+" goes on", func() bool { return p.get(t).Status == 200 })
	}
	w.wantRefreshes(t, 1, 0) // the first one was dropped when the holder left it
	w.wantStored(t, tokenclient.Active, 2)
}
