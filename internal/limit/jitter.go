package limit

import (
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/chance"
)

// jitter returns a duration from 0 up to d, without d itself. All chance of the package
// comes from here.
func jitter(d time.Duration) time.Duration { return chance.Below(d) }
