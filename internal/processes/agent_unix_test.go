//go:build unix

package processes_test

import (
	"context"
	"os/exec"
	"syscall"
)

// systemOrders are what agents can do on this system besides orders.
var systemOrders = map[string]func(*agent, context.Context, order, *answer) error{
	"limit": limitFiles,
}

// limitFiles makes writes beyond o.Limit bytes of a file fail, as on a full disk;
// a negative limit lifts that.
func limitFiles(_ *agent, _ context.Context, o order, _ *answer) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	if o.Limit >= 0 {
		setLimit(&l, o.Limit)
	}
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}

// becomeUser gives up root for good: it ignores the modes of folders.
func becomeUser(uid int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(uid); err != nil {
		return err
	}
	return syscall.Setuid(uid)
}

// apart gives the agent a process group of its own. If the test dies while the
// agent is stopped, the group is orphaned, and the kernel then hangs up on
// processes that are stopped; others notice that standard input ends.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
