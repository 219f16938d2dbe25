package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// A score is what has become of a package's mutants.
type score struct{ killed, survived, explained int }

// percent returns how many were killed of those that should have been. A package without any
// has them all.
func (s score) percent() float64 {
	if s.killed+s.survived == 0 {
		return 100
	}
	return 100 * float64(s.killed) / float64(s.killed+s.survived)
}

// scores are those of packages, by their folders.
type scores map[string]score

func (s scores) packages() []string { return slices.Sorted(maps.Keys(s)) }

func readScores(name string) (scores, error) {
	all := scores{}
	err := eachLine(name, func(line string) error {
		var pkg string
		var s score
		var percent float64
		if _, err := fmt.Sscan(line, &pkg, &percent, &s.killed, &s.survived, &s.explained); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		all[pkg] = s
		return nil
	})
	return all, err
}

const scoresHead = `# The score of each package, below which it may not fall: in per cent, then how many mutants
# were killed, survived, and survived for a reason that survivors.txt has.
# Written by: go run ./internal/mutation -write
`

func (s scores) write(name string) error {
	var b strings.Builder
	b.WriteString(scoresHead)
	for _, p := range s.packages() {
		fmt.Fprintf(&b, "%-24s %5.1f %4d %4d %4d\n", p, s[p].percent(), s[p].killed, s[p].survived, s[p].explained)
	}
	return os.WriteFile(name, []byte(b.String()), 0o600)
}
