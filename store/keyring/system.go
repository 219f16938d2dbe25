// Not all systems that the library is compiled for: its tags take Android for Linux
// and iOS for macOS, where it fails only when it is called.
//go:build (linux && !android) || (darwin && !ios) || windows || netbsd || openbsd || ((freebsd || dragonfly) && cgo)

package keyring

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/zalando/go-keyring"
)

// system is the keyring of the operating system.
type system struct{}

func (system) get(service, account string) (string, error) {
	if err := reachable(); err != nil {
		return "", err
	}
	value, err := keyring.Get(service, account)
	if errors.Is(err, keyring.ErrNotFound) {
		err = errAbsent
	}
	return value, err
}

func (system) set(service, account, value string) error {
	return keyring.Set(service, account, value)
}

// reachable keeps the library from looking for a session bus where there is none:
// it would start one with dbus-launch, which has no keyring that is unlocked, and
// outlives the program. The places are those where the library looks first.
func reachable() error {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return nil
	}
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" && address != "autolaunch:" {
		return nil
	}
	for _, name := range []string{"bus", "dbus-session"} {
		if _, err := os.Stat(fmt.Sprintf("/run/user/%d/%s", os.Getuid(), name)); err == nil {
			return nil
		}
	}
	return errors.New("there is no D-Bus session, and so no Secret Service (DBUS_SESSION_BUS_ADDRESS is not set)")
}
