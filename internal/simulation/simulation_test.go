package simulation_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/planted"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
)

var (
	onlySeed  = flag.Int64("simulation.seed", -1, "run this seed alone, and tell what happens")
	fromSeed  = flag.Int64("simulation.from", 0, "the first seed that is run")
	manySeeds = flag.Int("simulation.seeds", 0, "how many seeds are run; 0: as many as are usual")
)

// A tally is what came of many histories.
type tally struct {
	mu     sync.Mutex
	count  map[string]int
	seeds  int
	failed atomic.Int64
}

func (y *tally) add(w *world) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.seeds++
	y.count["steps of the scheduler"] += w.steps
	y.count["refresh tokens presented"] += len(w.judge.shown)
	for _, st := range w.plan.steps {
		y.count["step: "+string(st.kind)]++
	}
	for what, n := range w.met {
		y.count[what] += n
	}
	for _, what := range w.struck {
		y.count["misfortune: "+what]++
	}
}

// TestSimulation runs histories in which everything goes wrong that can, and looks for what
// must not happen whatever goes wrong: see invariants. One that fails is made as short as it
// gets, and told.
func TestSimulation(t *testing.T) {
	if *onlySeed >= 0 {
		w := shrink(t, drawPlan(uint64(*onlySeed)))
		if w.judge.found != nil {
			t.Error(w.tellStory())
			return
		}
		for _, line := range w.story {
			t.Log(line)
		}
		return
	}
	seeds := 100_000
	if testing.Short() {
		seeds /= 10
	}
	if sessiontest.Race { // which makes each take seven times as long
		seeds = seeds * 2 / 5
	}
	if *manySeeds > 0 {
		seeds = *manySeeds
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // what a history needs is soon forgotten
	most := int64(3)
	if planted.Name() != "" {
		most = 1
	}
	y, begin := &tally{count: map[string]int{}}, time.Now()
	var next atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				for y.failed.Load() < most {
					nth := next.Add(1) - 1
					if nth >= int64(seeds) {
						return
					}
					w := watched(t, drawPlan(uint64(*fromSeed+nth)))
					y.add(w)
					if w.judge.found != nil && y.failed.Add(1) <= most {
						if planted.Name() == "" {
							if short := shrink(t, w.plan); short.judge.found != nil {
								w = short
							}
						}
						t.Error(w.tellStory())
					}
				}
			})
		}
	})
	d := time.Since(begin)
	t.Logf("%d histories in %v, %.0f a second, %d violations", y.seeds, d.Round(time.Millisecond), float64(y.seeds)/d.Seconds(), y.failed.Load())
	for _, line := range y.lines() {
		if t.Failed() {
			break
		}
		t.Log(line)
	}
}

// watched is simulate, with an eye on the real clock: who waits for a lock for ever keeps the
// time of a bubble from going on.
func watched(t *testing.T, p *plan) *world {
	patience := 30 * time.Second
	if planted.Name() != "" {
		patience = 5 * time.Second
	}
	timer := time.AfterFunc(patience, func() {
		fmt.Printf("seed %d: [waiters end] it hangs\n", p.seed)
		os.Exit(1)
	})
	defer timer.Stop()
	return simulate(t, p, false)
}

// lines are the counts, in order.
func (y *tally) lines() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(y.count)) {
		list = append(list, fmt.Sprintf("%9d  %s", y.count[name], name))
	}
	return list
}

// TestSimulationRepeats: a history depends on nothing but its seed. (Within one moment the
// goroutines of the library may be let go in another order. So the lines are compared without
// that; in about one of twelve such an order makes a difference.)
func TestSimulationRepeats(t *testing.T) {
	seeds, differ := uint64(500), 0
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		a, b := simulate(t, drawPlan(seed), true), simulate(t, drawPlan(seed), true)
		if !slices.Equal(slices.Sorted(slices.Values(a.story)), slices.Sorted(slices.Values(b.story))) {
			differ++
			t.Logf("seed %d: %d and %d lines", seed, len(a.story), len(b.story))
		}
	}
	t.Logf("%d of %d histories were not the same twice", differ, seeds)
	if differ > int(seeds/3) { // nothing would be found again
		t.Errorf("%d of %d histories were not the same twice", differ, seeds)
	}
}
