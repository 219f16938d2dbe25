package limit

import (
	"math/rand/v2"
	"time"
)

// jitter returns a duration from 0 up to d, without d itself. All chance of the package
// comes from here. Its source is the process's: it is seeded by the system, so that
// replicas that start together part, and it takes neither memory nor a lock in each of
// many sessions.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
