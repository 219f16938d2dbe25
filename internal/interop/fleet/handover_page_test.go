package fleet_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("write", false, "measure the hand-over, and write it into docs/proof.md")

const (
	proofPage     = "../../../docs/proof.md"
	handOverBegin = "<!-- printed by go test ./internal/interop/fleet -run TestHandOverPage -write -->\n"
	handOverEnd   = "<!-- end of the hand-over -->\n"
)

// What is measured, and what of it is the goal.
const (
	fleetSize   = 32
	tripGoal    = 5  // round trips, for who is woken
	shareGoal   = 10 // for who looks: this part of the refresh, and
	handOverMin = 5 * time.Millisecond
)

// handOverRefreshes are how long refreshes take, and how many of them there are.
var handOverRefreshes = []struct {
	takes  time.Duration
	rounds int
}{{2 * time.Second, 5}, {150 * time.Millisecond, 21}}

// A measured is what there is to say of one engine.
type measured struct {
	name  string
	wakes bool
	races [][]round // of each of handOverRefreshes
	crowd []round
	trips []time.Duration // of all processes at once
	alone time.Duration   // of one
}

// TestHandOverPage: docs/proof.md says how soon who waits has the new token, and how often the
// engine is asked meanwhile, of each engine, and what is the goal.
func TestHandOverPage(t *testing.T) {
	if *write {
		writeHandOver(t)
	}
	text, err := os.ReadFile(proofPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), handOverBegin)
	section, _, ends := strings.Cut(rest, handOverEnd)
	if !begins || !ends {
		t.Fatalf("%s has no section between %q and %q", proofPage, handOverBegin, handOverEnd)
	}
	var all []measured
	for _, e := range handOverEngines {
		one := []round{{took: 1, call: 1, waiters: []time.Duration{1}}}
		all = append(all, measured{name: e.name, wakes: e.wakes, races: [][]round{one, one}, crowd: one, trips: []time.Duration{1}})
	}
	got, want := withoutFigures(section), withoutFigures(handOverSection(all))
	if got != want {
		t.Errorf("%s has not what is measured; measure it on a quiet machine with -write:\n%s\nwant, but for the figures:\n%s", proofPage, got, want)
	}
}

// figure is a number in a cell; that in a duration such as 2s is none.
var figure = regexp.MustCompile(`-?\d+(\.\d+)?([ ,])`)

// withoutFigures is a section without what a run has measured: where, and the numbers in the
// rows of engines.
func withoutFigures(section string) string {
	var b strings.Builder
	for line := range strings.Lines(section) {
		for _, e := range handOverEngines {
			if strings.HasPrefix(line, "| "+e.name+" |") {
				line = figure.ReplaceAllString(line, "N$2")
			}
		}
		if strings.HasPrefix(line, "Measured ") {
			line = "Measured\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// writeHandOver measures, and writes the section of the page. What else is on the page stays.
func writeHandOver(t *testing.T) {
	var all []measured
	for _, e := range handOverEngines {
		t.Run(e.name, func(t *testing.T) {
			m := measured{name: e.name, wakes: e.wakes}
			r := newRelay(t, e.name, fleetSize)
			for range handOverRefreshes[0].rounds {
				m.crowd = append(m.crowd, r.crowd(t, fleetSize, handOverRefreshes[0].takes))
			}
			for _, refresh := range handOverRefreshes {
				var races []round
				for range refresh.rounds {
					races = append(races, r.race(t, refresh.takes))
					m.trips = append(m.trips, r.together(t))
				}
				m.races = append(m.races, races)
			}
			m.alone = r.roundTrip(t)
			all = append(all, m)
		})
	}
	if t.Failed() {
		return
	}
	text, err := os.ReadFile(proofPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), handOverBegin)
	_, after, ends := strings.Cut(rest, handOverEnd)
	if begins && !ends {
		t.Fatalf("%s: the section of the hand-over does not end", proofPage)
	}
	if !begins {
		before += "\n"
	}
	if err := os.WriteFile(proofPage, []byte(before+handOverBegin+handOverSection(all)+handOverEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// handOverSection is what stands between the marks of the page.
func handOverSection(all []measured) string {
	var b strings.Builder
	fmt.Fprintf(&b, `## Hand-over

Measured with %s, %s/%s, %d processors, %s.

%d processes refresh the same token, all at once, through the store alone: no server and no request is in it. One of them
makes the token call, which is a sleep here, and saves the new token; the others wait for it. Counted is from when that one
has the new token to when a waiter has it: the median of all waiters, and the median and the maximum over the rounds of the
last one. A round trip of the same run is a Load: by all %d processes, which begin at the same time, until the last of them
is done; or by one that is alone.
Less than nothing is no mistake: the engine wakes who waits before its answer reaches who saved.

Who is woken by the engine is to be served within %d round trips of all %d; who looks, within a tenth of the refresh's own
duration and %v. "kept" is in how many rounds the last one was.

| engine | who waits | a waiter | the last | maximum | round trip of %d | of one | the last, in round trips | goal | kept |
|---|---|---|---|---|---|---|---|---|---|
`, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly),
		fleetSize, fleetSize, tripGoal, fleetSize, handOverMin, fleetSize)
	for _, m := range all {
		for i, refresh := range handOverRefreshes {
			m.row(&b, refresh.takes, m.races[i])
		}
	}
	wait := handOverRefreshes[0].takes
	fewest := fewestLooks(wait)
	fmt.Fprintf(&b, `
How often a second the engine is asked, for reads and swaps, by all together during a token call of %v: median and maximum
over the rounds. The goal is %d, for %d who wait in one process and for %d processes that are woken. Processes that look
know nothing of each other: to be served as above, each has to look %d times at the least, and %d of them %d times a
second, whatever the rule. A file has no engine.

| engine | %d processes | in one process |
|---|---|---|
`, wait, askedGoal, fleetSize, fleetSize, fewest, fleetSize, fleetSize*fewest/int(wait.Seconds()), fleetSize)
	for _, m := range all {
		if m.name != "File" {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", m.name, asked(m.races[0]), asked(m.crowd))
		}
	}
	return b.String()
}

// row prints how long those waited who wait for a refresh.
func (m measured) row(b *strings.Builder, refresh time.Duration, races []round) {
	var every, lasts []time.Duration
	trip, kept, goal := median(m.trips), 0, time.Duration(0)
	for _, r := range races {
		every, lasts = append(every, r.waiters...), append(lasts, r.last())
		if goal = r.took/shareGoal + handOverMin; m.wakes {
			goal = tripGoal * trip
		}
		if r.last() <= goal {
			kept++
		}
	}
	how := "looks"
	if m.wakes {
		how = "is woken"
	}
	fmt.Fprintf(b, "| %s | %s, %v | %s | %s | %s | %s | %s | %.1f | %s | %d of %d |\n", m.name, how, refresh, millis(median(every)),
		millis(median(lasts)), millis(slices.Max(lasts)), millis(trip), millis(m.alone),
		float64(median(lasts))/float64(trip), millis(goal), kept, len(races))
}

func asked(rounds []round) string {
	var rates []float64
	for _, r := range rounds {
		rates = append(rates, r.perSecond())
	}
	slices.Sort(rates)
	return fmt.Sprintf("%.0f, %.0f", rates[len(rates)/2], rates[len(rates)-1])
}

// fewestLooks is how many looks it takes to find what happens within wait no more than the goal later.
func fewestLooks(wait time.Duration) (n int) {
	for at := time.Duration(0); at < wait; n++ {
		at += at/shareGoal + handOverMin
	}
	return n
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1e3) }
