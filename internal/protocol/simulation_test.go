package protocol_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/planted"
)

var (
	simulationSeed  = flag.Int64("simulation.seed", -1, "run this seed of the simulation alone, and print what happens")
	simulationSeeds = flag.Int("simulation.seeds", 0, "how many seeds the simulation runs; 0: as many as are usual")
)

// What can happen to a run.
const (
	crashed = iota
	restarted
	frozen
	suspended
	cutOff
	unreachable
	clockSet
	readFailed
	writeLost
	writeReplyLost
	lateWrite
	lateWriteInVain
	duplicate
	conflict
	storm
	slowEngine
	callerLeft
	loggedIn
	loggedOut
	serverNotSent
	server429
	serverLostRequest
	serverLostAnswer
	server5xxBefore
	server5xxAfter
	serverTooSlow
	serverSwallowed
	lateRequest
	graced
	latePair
	renewedToken
	saveAnnounced
	deadDropped
	takenOver
	faultKinds
)

var faultNames = [faultKinds]string{
	"crashes", "restarts", "processes stopped", "machines suspended", "cut off from the engine", "engine unreachable",
	"wall clocks set", "reads failed", "writes lost", "write replies lost", "late writes stored", "late writes refused",
	"writes doubled", "conflicts", "conflicts made up", "slow messages", "callers gone", "logins", "logouts",
	"requests not sent", "429", "requests lost", "answers lost", "503", "500 after the exchange", "answers too late", "requests swallowed",
	"requests of the dead handled", "grace used",
	"pairs that came late", "tokens sent by the server", "saves that were announced against",
	"requests of the dead dropped", "taken over from the dead before the hold was over",
}

func (w *world) count(kind int) { w.faults[kind]++ }

// settings are what kind of a run it is.
type settings struct {
	timeout, margin time.Duration
	sessions        bool
	absent          bool // begins with nothing stored
	logins, logouts float64
	renewals        float64 // tokens that the server sends by itself
	latePairs       bool    // answers that are too late are waited for
	misfortune      float64
	misfortunes     []int
	crashes         int

	serverTrouble, slowServer             float64
	readTrouble, writeTrouble, slowEngine float64

	// As in a store.File; see newLockWorld.
	locks    bool
	promised time.Duration // requests of the dead end within that; 0: nobody says so

	// What must not be, and is planted.
	lingerDead bool // the server works on requests of the dead for longer than a hold lasts
	lingerGone bool // and on those that their process waits for no longer
	deletes    bool // the engine takes a logout for a deletion

	promiseBroken bool // the server carries out the requests of the dead
}

func (s *settings) lease() time.Duration { return s.timeout + s.margin }
func (s *settings) reserve() time.Duration {
	if s.locks {
		return 0
	}
	return min(s.margin/2, time.Second)
}

// newWorld draws a run. Most have a few kinds of faults: many of one kind find what
// some of all kinds do not.
func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), saves: rand.New(rand.NewPCG(seed, 2)),
		begin: time.Now(), bell: make(chan struct{}, 1),
	}
	w.server.pairs = map[string]*pair{}
	w.judge = judge{w: w, eras: map[[16]byte]int{}, writes: map[[16]byte]bool{}, tokens: map[generation]*pair{}, ends: map[string]int{}}
	some := func(values ...float64) float64 { return values[w.rng.IntN(len(values))] }
	s := &w.set
	s.timeout = 2 * time.Second
	s.margin = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second}[w.rng.IntN(4)]
	s.sessions = w.chance(0.3)
	s.absent = w.chance(0.1)
	s.logins, s.logouts = some(0, 0, 0.1, 0.25), some(0, 0, 0.05, 0.2)
	s.misfortune = some(0, 0.01, 0.03, 0.06)
	kinds := []int{crashed, frozen, suspended, cutOff, clockSet}
	for _, k := range kinds {
		if w.chance(0.5) {
			s.misfortunes = append(s.misfortunes, k)
		}
	}
	if len(s.misfortunes) == 0 {
		s.misfortunes = kinds
	}
	s.crashes = w.rng.IntN(3)
	s.serverTrouble, s.slowServer = some(0, 0, 0.1, 0.3), some(0, 0.3, 0.8)
	s.readTrouble, s.writeTrouble, s.slowEngine = some(0, 0, 0.05), some(0, 0.1, 0.3), some(0, 0, 0.1)
	if w.chance(0.15) {
		w.server.grace = w.between(time.Second, 10*time.Second)
	}
	at := w.between(0, 50*time.Millisecond)
	for range 2 + w.rng.IntN(2) {
		w.waves = append(w.waves, at)
		at += w.between(s.lease()/2, 2*s.lease())
	}
	w.healed = at + s.lease()
	if !s.sessions {
		s.renewals = []float64{0, 0, 0.5, 1}[w.saves.IntN(4)]
		s.latePairs = w.saves.IntN(2) == 0
	}
	return w
}

// play makes a run, in a bubble.
func (w *world) play() {
	if !w.set.absent {
		w.seedEngine()
	}
	w.after(w.healed, func() { w.quiet = true })
	for range 2 + w.rng.IntN(2) {
		w.startProcess()
	}
	w.run(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.running == 0 && len(w.arrived) == 0 && len(w.queue) == 0
	})
	if w.violation == "" {
		w.judge.ended()
	}
	if w.set.sessions {
		w.closeSessions()
	}
	w.note("END", "%d steps", w.steps)
}

// simulate runs one seed.
func simulate(t *testing.T, seed uint64) (w *world) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed)
		w.plant()
		w.play()
	})
	return w
}

// A tally is what came of many runs.
type tally struct {
	mu       sync.Mutex
	seeds    int
	sessions int
	steps    int
	faults   [faultKinds]int
	hit      [faultKinds]int // runs with the fault
	ends     map[string]int
	first    map[string]uint64 // the first seed of each end
	sent     int
}

func (y *tally) add(w *world) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.seeds++
	y.steps += w.steps
	if w.set.sessions {
		y.sessions++
	}
	for k, n := range w.faults {
		y.faults[k] += n
		if n > 0 {
			y.hit[k]++
		}
	}
	for why, n := range w.judge.ends {
		y.ends[why] += n
		if first, ok := y.first[why]; !ok || w.seed < first {
			y.first[why] = w.seed
		}
	}
	for _, p := range w.server.pairs {
		y.sent += len(p.shown)
	}
}

func (y *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds (%d with sessions), %d steps, %d tokens presented\nfaults:", y.seeds, y.sessions, y.steps, y.sent)
	for k, n := range y.faults {
		fmt.Fprintf(&b, "\n  %7d  %s, in %d seeds", n, faultNames[k], y.hit[k])
	}
	b.WriteString("\nsessions lost, and nobody to blame:")
	var whys []string
	for why := range y.ends {
		whys = append(whys, why)
	}
	slices.Sort(whys)
	for _, why := range whys {
		fmt.Fprintf(&b, "\n  %7d  %s (seed %d)", y.ends[why], why, y.first[why])
	}
	return b.String()
}

// TestSimulation runs processes that share a session through an engine and a server
// where everything goes wrong that can, and looks for what must not happen whatever
// goes wrong; see judge. What is found is found again by
//
//	go test ./internal/protocol -run 'TestSimulation$' -simulation.seed=N -v
//
// The code is that of Engine and, in some of the runs, of tokenclient.Session. These
// are the limits of what it says:
//
//   - What a process does between two operations takes no time; it dies, stops and
//     is cut off before an operation, during it, or before its answer.
//   - Each process has clocks of its own, but only the store asks them. Sessions and
//     timers go by the time of the run, also while their process stands still.
//   - Sessions get no late pairs and no tokens that the server sends by itself; other
//     clients do.
//   - The engine keeps the contract of store.KV, and the server finishes a request within
//     RefreshTimeout from when it was sent, if it ever gets it. A connection breaks
//     before the server has the request or after it has answered, not in between.
//   - The turns of store.File, which are locks and not leases, are those of
//     TestSimulationLocks.
func TestSimulation(t *testing.T) {
	total := simulateAll(t, 20_000, simulate)
	if total == nil {
		return
	}
	for k, n := range total.hit[:deadDropped] {
		if n == 0 {
			t.Errorf("no run had %s", faultNames[k])
		}
	}
	for _, why := range []string{endAnswerLost, endCrashed, endFrozen, endCutOff, endGap} {
		if total.ends[why] == 0 {
			t.Errorf("no session was lost because of: %s", why)
		}
	}
}

// simulateAll runs as many seeds as are usual, or those of the flags. The tally is nil
// if it says nothing: too few ran, or a bug is planted.
func simulateAll(t *testing.T, seeds int, run func(t *testing.T, seed uint64) *world) *tally {
	if *simulationSeed >= 0 {
		w := run(t, uint64(*simulationSeed))
		for _, e := range w.trace {
			t.Log(e)
		}
		if w.violation != "" {
			t.Error(w.violation)
		}
		return nil
	}
	if testing.Short() {
		seeds /= 20
	}
	if *simulationSeeds > 0 {
		seeds = *simulationSeeds
	}
	most := int64(3) // failures, then it ends
	if planted.Name() != "" {
		most = 1
	}
	total := &tally{ends: map[string]int{}, first: map[string]uint64{}}
	var next, failed atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				for failed.Load() < most {
					seed := next.Add(1) - 1
					if seed >= int64(seeds) {
						return
					}
					w := run(t, uint64(seed))
					total.add(w)
					if w.violation != "" {
						failed.Add(1)
						report(t, w)
					}
				}
			})
		}
	})
	t.Logf("%v\n%d violations", total, failed.Load())
	if t.Failed() || *simulationSeeds > 0 || planted.Name() != "" {
		return nil
	}
	return total
}

// report prints a run that failed.
func report(t *testing.T, w *world) {
	t.Helper()
	var b strings.Builder
	for _, e := range w.trace {
		fmt.Fprintln(&b, e)
	}
	t.Errorf("seed %d: %s\n%s", w.seed, w.violation, &b)
}

// TestSimulationRepeats: a run depends on nothing but its seed.
func TestSimulationRepeats(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 100
	}
	for n := range 2 * seeds {
		run, seed := simulate, n/2
		if n%2 == 1 {
			run = simulateLocks
		}
		a, b := run(t, seed), run(t, seed)
		if a.hash() == b.hash() {
			continue
		}
		for i := range min(len(a.trace), len(b.trace)) {
			if a.trace[i] != b.trace[i] {
				t.Fatalf("seed %d: the same until\n%v\n%v", seed, a.trace[i], b.trace[i])
			}
		}
		t.Fatalf("seed %d: %d and %d lines", seed, len(a.trace), len(b.trace))
	}
}

// TestReading: what looks into a time.Time knows how that is made.
func TestReading(t *testing.T) {
	wall := time.Now().Round(0)
	for _, d := range []time.Duration{0, time.Hour, -5 * time.Hour} {
		a, b := reading(wall, time.Minute), reading(wall.Add(d), time.Hour)
		if got := b.Sub(a); got != time.Hour-time.Minute {
			t.Errorf("monotonic %v", got)
		}
		if got := b.Round(0).Sub(a.Round(0)); got != d || !b.Round(0).Equal(wall.Add(d)) {
			t.Errorf("wall %v, want %v", got, d)
		}
		if got := b.Add(time.Second).Sub(b); got != time.Second {
			t.Errorf("%v after a second", got)
		}
	}
}
