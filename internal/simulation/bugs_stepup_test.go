package simulation_test

import "github.com/seed-fbfaa0ec/silentrefresh/internal/planted"

const groupFile = "internal/stepup/group.go"

// Those of what an API wants beyond a good token.
func init() {
	wholeBugs = append(wholeBugs, []wholeBug{
		{"everybody is asked to step up", []planted.Patch{patch(groupFile,
			"	if c = g.calls[k]; c != nil {", "	if c = g.calls[k]; c != nil && !BUG {")}},
		{"asked to step up again and again", []planted.Patch{patch(groupFile,
			"		case time.Since(o.at) < Again:", "		case time.Since(o.at) < Again && !BUG:")}},
		{"any login is taken for a step-up", []planted.Patch{patch(currentFile,
			"	case steps.isSameUser(h, next):", "	case steps.isSameUser(h, next) || BUG:")}},
		{"a stream is taken back when it is spent", []planted.Patch{
			patch("internal/replay/source.go", "	if src.decided { // what was kept", "	if src.decided && !BUG { // what was kept"),
			patch(transportFile, "|| s.config().steps() != nil ||", "|| s.config().steps() != nil && !BUG ||")}},
	}...)
}
