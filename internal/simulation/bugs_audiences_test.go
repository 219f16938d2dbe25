package simulation_test

import "github.com/seed-fbfaa0ec/silentrefresh/internal/planted"

const audienceFile = "tokenclient/session_audience.go"

// Those of several audiences.
func init() {
	wholeBugs = append(wholeBugs, []wholeBug{
		{"a logout is not for audiences", []planted.Patch{patch(audienceFile,
			"&& h.logouts == old.logouts ||", "&& (h.logouts == old.logouts || BUG) ||")}},
		{"a refresh for one audience counts for another", []planted.Patch{patch(stateRefreshFile,
			"	if !own && st.keepsAccess(r) {", "	if !own && !BUG && st.keepsAccess(r) {")}},
		{"an audience begins with the token of another", []planted.Patch{patch(audienceFile,
			"	whole := r.Number\n	r.Number = 1\n", "	whole := r.Number\n	r.Number = 1\n	if BUG {\n		t = r.Token.Clone()\n	}\n")}},
	}...)
}
