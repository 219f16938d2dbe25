// Command bench compares what tokenclient costs, and what it does when a token
// dies, to other Go libraries and to the least that a legal RoundTripper can do.
// From the root of the repository:
//
//	go run ./internal/bench          # a few minutes; prints the tables of docs/benchmarks.md
//	go run ./internal/bench -quick   # a tenth of the rounds, to see whether it works
//
// All contenders run in one process over the same base transport. They take turns
// in rounds, in an order that changes from round to round, so that a machine that
// slows down slows all of them. Tables show medians over the rounds; a ratio is the
// median of the ratios within each round.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// settings is how much is measured.
type settings struct {
	rounds   int           // of the hot path and the loopback
	turn     time.Duration // how long a contender's turn lasts there
	callers  int           // in a stampede
	stampede int           // rounds of it
	deadline int           // rounds of the waiters
	sessions int           // idle ones
}

var (
	full  = settings{rounds: 51, turn: 5 * time.Millisecond, callers: 10000, stampede: 21, deadline: 3, sessions: 2000}
	quick = settings{rounds: 11, turn: 2 * time.Millisecond, callers: 10000, stampede: 3, deadline: 1, sessions: 500}
)

func main() {
	fast := flag.Bool("quick", false, "measure a tenth of the rounds")
	only := flag.String("only", "", "measure this `part` alone: hot, loopback, stampede, deadline or idle")
	flag.Parse()
	s := full
	if *fast {
		s = quick
	}
	if err := report(os.Stdout, s, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// report measures everything, or one part, and prints it as Markdown.
func report(w io.Writer, s settings, only string) error {
	fmt.Fprintf(w, "%s, %s/%s, %d processors, %s.\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly))
	printVersions(w)
	for _, part := range parts {
		if only != "" && only != part.name {
			continue
		}
		if err := part.run(w, s); err != nil {
			return err
		}
	}
	return nil
}

var parts = []struct {
	name string
	run  func(io.Writer, settings) error
}{{"hot", hotPath}, {"loopback", loopback}, {"stampede", stampede}, {"deadline", deadline}, {"idle", idle}}

// printVersions says which versions of the contenders' modules are in this program.
func printVersions(w io.Writer) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	versions := make(map[string]string)
	for _, m := range info.Deps {
		versions[m.Path] = m.Version
	}
	for _, c := range contenders {
		module := "this repository"
		if c.module != "" {
			module = strings.TrimSpace(c.module + " " + versions[c.module])
		}
		fmt.Fprintf(w, "- **%s**: %s. %s\n", c.name, module, c.about)
	}
	fmt.Fprintln(w)
}
