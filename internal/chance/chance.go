// Package chance is where what the library leaves to chance comes from: how long it waits
// before it tries again, and when before its expiry a token is refreshed. Identifiers and
// keys do not come from here: those are made by crypto/rand.
//
// The source is the process's: it is seeded by the system, so that replicas that start
// together part, and it takes neither memory nor a lock in each of many sessions. Only a
// simulation puts another one in its place, so that its runs are the same each time.
package chance

import (
	"math/rand/v2"
	"time"
)

var source = rand.N[time.Duration]

// Below returns a duration from 0 up to d, without d itself; 0 if d is not more than that.
func Below(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return source(d)
}

// Simulate has f draw in the place of the system's chance. f is called concurrently, with
// more than 0. It is for a test's init: there is no way back, and nothing may draw yet.
func Simulate(f func(below time.Duration) time.Duration) { source = f }
