// Command bench compares what tokenclient costs, and what it does when a token
// dies, to other Go libraries and to the least that a legal RoundTripper can do.
// From the root of the repository:
//
//	go run ./internal/bench -charts docs/charts   # a few minutes; prints the tables of docs/benchmarks.md, and draws its charts
//	go run ./internal/bench -quick                # a tenth of the rounds, to see whether it works
//
// All contenders run in one process over the same base transport. They take turns
// in rounds, in an order that changes from round to round, so that a machine that
// slows down slows all of them. Tables show medians over the rounds; a ratio is the
// median of the ratios within each round.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// settings is how much is measured.
type settings struct {
	rounds   int           // of the hot path
	long     int           // rounds of what has a range
	turn     time.Duration // how long a contender's turn lasts in these
	callers  int           // in a stampede
	stampede int           // rounds of it
	deadline int           // rounds of the waiters
	refresh  time.Duration // how long the refresh takes that they wait for
	sessions int           // idle ones
	known    int           // users of a Pool
	live     int           // sessions that it keeps of them
	stores   int           // rounds of the stores
	store    time.Duration // how long an operation of a store is repeated there
}

var (
	full = settings{rounds: 51, long: 101, turn: 5 * time.Millisecond, callers: 10000, stampede: 21, deadline: 3, refresh: 2 * time.Second, sessions: 2000,
		known: 1_000_000, live: 10_000, stores: 7, store: 200 * time.Millisecond}
	quick = settings{rounds: 11, long: 11, turn: 2 * time.Millisecond, callers: 10000, stampede: 3, deadline: 1, refresh: 2 * time.Second, sessions: 500,
		known: 50_000, live: 5_000, stores: 3, store: 20 * time.Millisecond}
)

func main() {
	fast := flag.Bool("quick", false, "measure a tenth of the rounds")
	only := flag.String("only", "", "measure this `part` alone: "+partNames())
	charts := flag.String("charts", "", "draw charts into this `folder`, which is made; the text links to it from the folder above")
	flag.Parse()
	s := full
	if *fast {
		s = quick
	}
	if err := report(&page{os.Stdout, *charts}, s, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// report measures everything, or one part, and prints it as Markdown.
func report(p *page, s settings, only string) error {
	if only != "" && !slices.ContainsFunc(parts, func(part part) bool { return part.name == only }) {
		return fmt.Errorf("there is no part %q, but %s", only, partNames())
	}
	if p.charts != "" {
		if err := os.MkdirAll(p.charts, 0o755); err != nil {
			return err
		}
	}
	fmt.Fprintf(p, "%s.\n\n", circumstances())
	printVersions(p)
	for _, part := range parts {
		if only != "" && only != part.name {
			continue
		}
		if err := part.run(p, s); err != nil {
			return err
		}
	}
	return nil
}

type part struct {
	name string
	run  func(*page, settings) error
}

var parts = []part{
	{"hot", hotPath}, {"scaling", scaling}, {"loopback", loopback}, {"stampede", stampede},
	{"deadline", deadline}, {"idle", idle}, {"pool", pools}, {"stores", stores},
}

func partNames() string {
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	return strings.Join(names, ", ")
}

// printVersions says which versions of the contenders' modules are in this program.
func printVersions(p *page) {
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
		fmt.Fprintf(p, "- **%s**: %s. %s\n", c.name, module, c.about)
	}
	fmt.Fprintln(p)
}
