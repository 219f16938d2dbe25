package simulation_test

import "github.com/seed-fbfaa0ec/silentrefresh/internal/planted"

// Those that show when a process over a store.File is killed.
func init() {
	wholeBugs = append(wholeBugs, []wholeBug{
		{"a File does not wait for the request of the dead", []planted.Patch{patch("store/file_turn.go",
			"	left := time.Until(t.deadUntil)\n", "	left := time.Until(t.deadUntil)\n	if BUG {\n		left = 0\n	}\n")}},
	}...)
}
