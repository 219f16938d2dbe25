//go:build unix

package processes_test

import (
	"context"
	"fmt"
	"syscall"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
)

// systemOrders are what agents can do on this system besides what all can.
var systemOrders = orders{"limit": limitFiles}

// limitFiles makes writes beyond o.Limit bytes of a file fail, as on a full disk;
// a negative limit lifts that.
func limitFiles(_ context.Context, o processes.Order) error {
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
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setgid(uid)
	}
	if err == nil {
		err = syscall.Setuid(uid)
	}
	if err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	return nil
}
