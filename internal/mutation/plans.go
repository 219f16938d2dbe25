package main

import (
	"cmp"
	"hash/fnv"
	"io"
	"time"
)

// A plan is how the mutants of a package are tried. The zero plan tries all of them by the
// package's own tests.
type plan struct {
	slow     bool          // it is of the second part: see the flag -part
	share    int           // one line in so many is tried; 0: each
	patience time.Duration // how long tests may take at first; 0: 10 s
	flags    []string      // what the package's own tests are told
	also     []string      // folders of tests for what survives those, from the package's own
}

// plans are those of packages that have very many mutants, or whose tests take long. The
// shares are such that each of the two parts takes an hour or so, once a day. Who changes one
// writes the package's score anew.
var plans = map[string]plan{
	"internal/endpoint": {share: 8},
	"internal/replay":   {share: 2},
	"internal/protocol": {slow: true, share: 4, flags: []string{"-simulation.seeds=200"}},
	"store":             {slow: true, share: 8, patience: 40 * time.Second},
	"tokenclient":       {slow: true, share: 8, patience: time.Minute, also: []string{"./behaviour"}},
}

func (p plan) firstPatience() time.Duration { return cmp.Or(p.patience, 10*time.Second) }

// tries reports whether the mutants of a line are tried. It goes by what the line says, not by
// where it is: a change elsewhere neither adds mutants nor takes any away.
func (p plan) tries(file, function, text string) bool {
	h := fnv.New64a()
	for _, s := range []string{file, function, text} {
		_, _ = io.WriteString(h, s+"\n")
	}
	return h.Sum64()%uint64(max(p.share, 1)) == 0
}
