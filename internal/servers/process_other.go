//go:build !linux

package servers

import (
	"errors"
	"syscall"
	"testing"
)

// Nothing runs here; see program.
const (
	supported = false
	sigCONT   = 0
)

type account struct{ uid, gid int }

func notRoot(testing.TB, string) *account                      { return nil }
func attributes(syscall.Signal, *account) *syscall.SysProcAttr { return nil }
func signal([]int, syscall.Signal)                             {}
func freeze(int) error                                         { return errors.ErrUnsupported }
func family(int) []int                                         { return nil }
