package servers

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	supported = true
	sigCONT   = syscall.SIGCONT
)

// An account is a user that a server runs as.
type account struct{ uid, gid int }

// notRoot is the account for a server that refuses to run as root, nil if this
// process is not root's.
func notRoot(tb testing.TB, name string) *account {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		tb.Fatalf("servers: root needs the user of the Debian package: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &account{uid, gid}
}

// attributes makes a process end with this one. The kernel sends the signal when the
// thread ends that started the process; those of Go last, unless a goroutine ends
// that is locked to one.
func attributes(atEnd syscall.Signal, a *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: atEnd}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), NoSetGroups: false}
	}
	return attr
}

func signal(processes []int, sig syscall.Signal) {
	for _, pid := range processes {
		_ = syscall.Kill(pid, sig)
	}
}

// freeze stops the parent first, so that there are no more children then.
func freeze(pid int) error {
	if err := stand(pid); err != nil {
		return err
	}
	for _, child := range family(pid)[1:] {
		if err := stand(child); err != nil {
			return err
		}
	}
	return nil
}

// stand stops one process and waits until it has, which takes as long as it is in
// the kernel.
func stand(pid int) error {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(time.Millisecond) {
		state, _, ok := status(pid)
		if !ok || state == 'T' || state == 'Z' {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("servers: process %d does not stop, its state is %c", pid, state)
		}
	}
}

// family is pid, which is always in it, with its children and theirs. The process
// group is not enough: each connection of PostgreSQL is a process in a session of
// its own.
func family(pid int) []int {
	found := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*")
	children := make(map[int][]int)
	for _, path := range stats {
		child, _ := strconv.Atoi(filepath.Base(path))
		if _, parent, ok := status(child); ok {
			children[parent] = append(children[parent], child)
		}
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// status reads /proc/PID/stat, see proc(5). The program's name, in parentheses, may
// contain some.
func status(pid int) (state byte, parent int, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	end := bytes.LastIndexByte(stat, ')')
	if err != nil || end < 0 {
		return 0, 0, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}
