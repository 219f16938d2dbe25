//go:build !((linux && !android) || (darwin && !ios) || windows || netbsd || openbsd || ((freebsd || dragonfly) && cgo))

package keyring

import (
	"fmt"
	"runtime"
)

// system is the keyring of the operating system, which has none.
type system struct{}

func (system) get(string, string) (string, error) {
	return "", fmt.Errorf("%w on %s: bind a store.KeyWrapper over the keystore of the device; FreeBSD and DragonFly BSD need cgo", errNoRing, runtime.GOOS)
}

func (s system) set(string, string, string) error {
	_, err := s.get("", "")
	return err
}
