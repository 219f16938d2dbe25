package limit_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// TestUntilDue: what is due first counts, and a clock that was set back delays nothing for
// longer than the token was to be kept.
func TestUntilDue(t *testing.T) {
	now := time.Now() // with a monotonic reading
	at := func(d time.Duration) time.Time { return now.Round(0).Add(d) }
	for _, c := range []struct {
		name        string
		due, issued time.Time
		since, beat time.Duration // since: before now
		want        time.Duration
	}{
		{"in an hour", at(time.Hour), at(-time.Hour), time.Hour, 0, time.Hour},
		{"is due", at(-time.Minute), at(-time.Hour), time.Hour, 0, -time.Minute},
		{"the beat is earlier", at(time.Hour), at(-time.Minute), time.Minute, 10 * time.Minute, 9 * time.Minute},
		{"the beat is later", at(time.Hour), at(-time.Minute), time.Minute, 2 * time.Hour, time.Hour},
		{"by the beat alone", time.Time{}, at(-time.Minute), time.Minute, 10 * time.Minute, 9 * time.Minute},
		{"issued at an unknown time", at(time.Hour), time.Time{}, time.Minute, 0, time.Hour},
		{"the clock was set back by a day", at(25 * time.Hour), at(23 * time.Hour), time.Hour, 0, time.Hour},
		{"it was set back, and the token is due", at(25 * time.Hour), at(23 * time.Hour), 3 * time.Hour, 0, -time.Hour},
		{"the clock was set forward by a day", at(-23 * time.Hour), at(-25 * time.Hour), time.Hour, 0, -23 * time.Hour},
	} {
		if got := limit.UntilDue(c.due, c.issued, now.Add(-c.since), c.beat, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
