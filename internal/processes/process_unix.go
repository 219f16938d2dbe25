//go:build unix

package processes

import (
	"os/exec"
	"syscall"
	"testing"
)

// apart gives the agent a process group of its own. If the test dies while the
// agent is stopped, the group is orphaned, and the kernel then hangs up on
// processes that are stopped; others notice that standard input ends.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// Stop stops the agent, as ^Z does. It does not wait until it has stopped, and does
// nothing to one that has ended.
func (p *Process) Stop() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a stopped agent go on.
func (p *Process) Resume() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// WaitStopped blocks until the agent, which is not killed meanwhile, has stopped.
func (p *Process) WaitStopped(t testing.TB) {
	t.Helper()
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || !status.Stopped():
			t.Fatalf("%s did not stop: %v", p.Name, err)
		default:
			return
		}
	}
}
