package simulation_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("write", false, "write docs/proof.md anew, with all that it takes to know it")

const (
	proofPage = "../../docs/proof.md"
	proofEnd  = "<!-- end of the simulation; what follows is written by other programs -->\n"
)

// invariantRows is the page's table of invariants.
func invariantRows() string {
	var b strings.Builder
	b.WriteString("| invariant | what it says | checked by |\n|---|---|---|\n")
	for _, i := range invariants {
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", i.name, i.sentence, strings.ReplaceAll(i.by, ", ", "`, `"))
	}
	return b.String()
}

// TestProofPage: docs/proof.md has the invariants that are checked, and the bugs that are planted.
func TestProofPage(t *testing.T) {
	if *write {
		writeProof(t)
	}
	page, err := os.ReadFile(proofPage)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), invariantRows()) {
		t.Errorf("%s does not have this table of invariants; write it with -write:\n%s", proofPage, invariantRows())
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| bug: ") {
			rows++
		}
	}
	for _, b := range wholeBugs {
		if !strings.Contains(string(page), "| bug: "+b.name+" | ") {
			t.Errorf("%s does not have the planted bug %q; write it with -write", proofPage, b.name)
		}
	}
	if rows != len(wholeBugs) {
		t.Errorf("%s has %d planted bugs of %d", proofPage, rows, len(wholeBugs))
	}
}

// writeProof runs all that the page shows, and writes it.
func writeProof(t *testing.T) {
	begin, y := time.Now(), &tally{count: map[string]int{}}
	const histories = 10_000
	for seed := range uint64(histories) {
		w := simulate(t, drawPlan(seed), false)
		y.add(w)
		if w.judge.found != nil {
			t.Fatal(w.tellStory())
		}
	}
	took := time.Since(begin)
	var b strings.Builder
	fmt.Fprintf(&b, `# Proof

What is known of the whole, and how. This page is written by the programs whose results it shows. Tests compare its tables
with the code.

`+"`go test ./internal/simulation -run TestProofPage -write`"+` writes this first part.

The simulation runs Transport, Session, Pool and the stores against a model of an authorization server and an API, over a
network in memory, in virtual time. One seed is one history: what the program is like, what it does and when, and what becomes
of each message. It is the same each time, but for the order in which goroutines of the library go on at one moment, which makes a
difference in about one of twelve. A history that fails is made as short as it gets, and told as a story. To run one again: `+"`go test ./internal/simulation -run 'TestSimulation$' -simulation.seed=N -v`"+`. How it is built is in the package comment of
`+"`internal/simulation`"+`. The engine of the stores has a simulation of its own, in `+"`internal/protocol`"+`.

## Invariants

%s
## Histories

%d histories in %v on one core, %.0f a second, no violation. What happened in them:

| times | what |
|---|---|
`, invariantRows(), histories, took.Round(time.Second), histories/took.Seconds())
	for _, line := range y.lines() {
		times, what, _ := strings.Cut(strings.TrimSpace(line), "  ")
		fmt.Fprintf(&b, "| %s | %s |\n", times, what)
	}
	b.WriteString(`
## Planted bugs

Each of these mistakes is compiled in, one at a time, and histories run, from seed 0 on, until one fails. The number is how
many it took.

| bug | histories | invariant that finds it |
|---|---|---|
`)
	findBugs(t, wholeBugs, func(bug wholeBug, f finding) {
		fmt.Fprintf(&b, "| bug: %s | %d | %s |\n", bug.name, f.seed+1, f.invariant)
	})
	b.WriteString(limits)
	if t.Failed() {
		return
	}
	page, err := os.ReadFile(proofPage)
	if err != nil {
		t.Fatal(err)
	}
	_, others, ok := strings.Cut(string(page), proofEnd)
	if !ok {
		t.Fatalf("%s has no %q, after which other programs write", proofPage, proofEnd)
	}
	b.WriteString(proofEnd + others)
	if err := os.WriteFile(proofPage, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// limits is what the simulation does not say.
const limits = `
## What it does not say

- A process that stands still is cut off from everything until it goes on, and its clock has gone on then. But its timers run out when
  they are due, not late and all at once, and none stands still with a machine that sleeps. A clock is set only while its process does not run.
  The engine's simulation and the tests with real processes are for that. A File whose process is killed gives up
  its lock, and the folder is as it was; no temporary file of the dead is in it.
- The network is a RoundTripper: what net/http does by itself (connections, repeats, 100-continue) is not in it.
- ` + "`store.File`" + `, which is over a real folder, and ` + "`store.Memory`" + ` never fail. A header set by the caller is not in it. For proofs of a key
  (DPoP) the clocks agree, and no key is lost. There are two audiences, in histories without proofs, step-ups and answers that renew tokens, and each
  heeds the Retry-After of its own answers. No program vouches for a step-up that is somebody else's login.
- What a process does between two messages takes no time, and two goroutines meet only where messages let them.
`
