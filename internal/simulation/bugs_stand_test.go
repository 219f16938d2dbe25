package simulation_test

import "github.com/seed-fbfaa0ec/silentrefresh/internal/planted"

// Those that show when a process stands still.
func init() {
	wholeBugs = append(wholeBugs, []wholeBug{
		{"a token that expired while it was saved is used", []planted.Patch{patch(currentFile,
			"	if !stale && !*kept && h.expired(now) {\n", "	if !stale && !*kept && h.expired(now) && !BUG {\n")}},
		{"no look at the clock between a hold and its use", []planted.Patch{patch("internal/protocol/refresh.go",
			"!ok || age > f.margin-f.reserve {", "(!ok || age > f.margin-f.reserve) && !BUG {")}},
	}...)
}
