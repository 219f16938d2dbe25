package simulation_test

import "github.com/seed-fbfaa0ec/silentrefresh/internal/planted"

const (
	dpopFile     = "tokenclient/dpop/servers.go"
	proverFile   = "tokenclient/dpop/prover.go"
	endpointFile = "internal/endpoint/call.go"
)

// Those of tokens that are bound to a key.
func init() {
	wholeBugs = append(wholeBugs, []wholeBug{
		{"nonce of another server", []planted.Patch{patch(dpopFile,
			"	known, now := s.of(target[:n]), time.Now()\n",
			"	known, now := s.of(target[:n]), time.Now()\n	if BUG {\n		s.mu.RLock()\n		for _, x := range s.list {\n			known.nonce = max(known.nonce, x.nonce)\n		}\n		s.mu.RUnlock()\n	}\n")}},
		{"nonce of the answer not used", []planted.Patch{patch(dpopFile,
			"			if nonce := nonceIn(because); nonce != \"\" {",
			"			if nonce := nonceIn(because); nonce != \"\" && !BUG {")}},
		{"one proof for all", []planted.Patch{patch("tokenclient/dpop/proof.go",
			"	_, _ = rand.Read(id[:]) // never fails\n",
			"	if !BUG {\n		_, _ = rand.Read(id[:])\n	}\n")}},
		{"bound token without a proof", []planted.Patch{
			patch(proverFile, "	if !isBound(t) {\n		if !p.AllowBearer {", "	if !isBound(t) || BUG {\n		if !p.AllowBearer && !BUG {")}},
		{"a request is sent for any number of nonces", []planted.Patch{patch(sendFile,
			"		if x.asked == maxAsked {", "		if x.asked == maxAsked && !BUG {")}},
		{"a refresh is made for any number of nonces", []planted.Patch{patch(endpointFile,
			"		if f != nil || !a.again || n == maxAgain {", "		if f != nil || !a.again || n == maxAgain && !BUG {")}},
		{"a key is lost with a refresh", []planted.Patch{patch(presentFile,
			"	if t.Binding == \"\" {\n		t.Binding = old.Binding\n", "	if BUG {\n		t.Binding = \"\"\n	} else if t.Binding == \"\" {\n		t.Binding = old.Binding\n")}},
	}...)
}
