//go:build unix && !freebsd && !dragonfly

package processes_test

import "syscall"

func setLimit(l *syscall.Rlimit, n int64) { l.Cur = uint64(n) }
