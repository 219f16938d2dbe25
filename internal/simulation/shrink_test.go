package simulation_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// with returns the plan with other steps, and with further fates that do not come true.
func (p *plan) with(steps []*step, off map[string]bool) *plan {
	return &plan{seed: p.seed, set: p.set, steps: steps, off: off}
}

// shrink returns the shortest history that it finds in which the same invariant is violated:
// one without which step or misfortune it is not. It takes one out after another, those that
// come in larger pieces first.
func shrink(t *testing.T, p *plan) *world {
	first := simulate(t, p, true)
	for try := 0; first.judge.found == nil && try < 20; try++ { // see TestSimulationRepeats
		first = simulate(t, p, true)
	}
	if first.judge.found == nil {
		return first
	}
	name := first.judge.found.name
	fails := func(p *plan) bool {
		w := simulate(t, p, false)
		return w.judge.found != nil && w.judge.found.name == name
	}
	for again := true; again; {
		again = false
		for size := max(len(p.steps)/2, 1); size >= 1; size /= 2 {
			for i := 0; i+size <= len(p.steps); {
				less := p.with(slices.Delete(slices.Clone(p.steps), i, i+size), p.off)
				if fails(less) {
					p, again = less, true
				} else {
					i += size
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(simulate(t, p, false).struck)) {
			off := maps.Clone(p.off)
			off[key] = true
			if less := p.with(p.steps, off); fails(less) {
				p, again = less, true
			}
		}
	}
	for range 20 {
		if last := simulate(t, p, true); last.judge.found != nil {
			return last
		}
	}
	return first
}

// tell returns the story of a history that failed.
func (w *world) tellStory() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %v\n\nA history with %v.\n\n", w.plan.seed, w.judge.found, &w.plan.set)
	for _, line := range w.story {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "\n%d steps, %d misfortunes. It is found again by\n\n\tgo test ./internal/simulation -run 'TestSimulation$' -simulation.seed=%d -v\n",
		len(w.plan.steps), len(w.struck), w.plan.seed)
	return b.String()
}
