package keyring

import (
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// A Ring is a keyring of a test's own. Get returns ErrAbsent where there is no
// item.
type Ring struct {
	Get func(service, account string) (string, error)
	Set func(service, account, value string) error
}

func (r Ring) get(service, account string) (string, error) { return r.Get(service, account) }
func (r Ring) set(service, account, value string) error    { return r.Set(service, account, value) }

var (
	ErrAbsent = errAbsent
	ErrNoRing = errNoRing
)

const (
	Limit   = limit
	MaxName = maxName
)

// KeyIn is Key with another keyring.
func KeyIn(r Ring, dir, service, account string) (store.KeyWrapper, error) {
	return key(r, limit, dir, service, account)
}

// KeyWithin is Key with another limit.
func KeyWithin(limit time.Duration, dir, service, account string) (store.KeyWrapper, error) {
	return key(system{}, limit, dir, service, account)
}

// Marker and LockFile are the files of an item in dir.
func Marker(dir, service, account string) string {
	return (&item{dir: dir, service: service, account: account}).marker()
}

func LockFile(dir, service, account string) string {
	return (&item{dir: dir, service: service, account: account}).path(".lock")
}
