package fleet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
)

// handOverEngines are those of the table, and whether they wake who waits.
var handOverEngines = []struct {
	name  string
	wakes bool
}{
	{"File", true}, {"SQLite", true}, {"Redis", true}, {"PostgreSQL", true}, {deafPostgreSQL, false}, {"MariaDB", false},
}

// askedGoal is how often a second an engine may be asked while others wait for a refresh of 2 s.
const askedGoal = 100

// TestHandOver: a refresh is handed over to all processes that wait for it, and to all who wait
// in one process, who ask the engine no more than they may. How soon they have it depends on
// the machine: TestHandOverPage measures that.
func TestHandOver(t *testing.T) {
	for _, e := range handOverEngines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			const agents, most = 8, 120 // as internal/protocol has it for one who waits for 2 s
			r := newRelay(t, e.name, agents)
			if all := r.race(t, 300*time.Millisecond); all.asked > agents*most {
				t.Errorf("%d processes asked %d times, want %d at most", agents, all.asked, agents*most)
			}
			if one := r.crowd(t, 32, 2*time.Second); one.perSecond() > askedGoal {
				t.Errorf("one process in which many wait asks %.0f times a second, want %d at most", one.perSecond(), askedGoal)
			}
		})
	}
}

// A relay is a world whose agents write down what they ask the engine, and when.
type relay struct {
	*world
	notes string
	all   []*processes.Process
}

func newRelay(t *testing.T, engine string, agents int) *relay {
	t.Helper()
	r := &relay{newWorld(t, engine, handOverTimeout, 10*time.Second), filepath.Join(t.TempDir(), "notes"), nil}
	r.Base.Notes = r.notes
	r.forget(t)
	if err := r.Put(t.Context(), account, longToken()); err != nil {
		t.Fatal(err)
	}
	r.all = r.StartAll(t, agents, nil)
	return r
}

// forget begins the notes anew.
func (r *relay) forget(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(r.notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// times are those of the notes, in their order.
func (r *relay) times(t *testing.T) map[string][]time.Time {
	t.Helper()
	text, err := os.ReadFile(r.notes)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string][]time.Time{}
	for line := range strings.Lines(string(text)) {
		var what string
		var nanos int64
		if _, err := fmt.Sscan(line, &what, &nanos); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		times[what] = append(times[what], time.Unix(0, nanos))
	}
	for _, all := range times {
		slices.SortFunc(all, time.Time.Compare)
	}
	return times
}

// do has agents do the same, and waits for that.
func (r *relay) do(t *testing.T, agents []*processes.Process, o processes.Order) {
	t.Helper()
	o.Timeout = processes.Patience
	for _, q := range processes.OrderAll(t, agents, o) {
		q.Wait(t).Want(t, o.Do)
	}
}

// race has all agents refresh at once, which takes the one of them that may so long.
func (r *relay) race(t *testing.T, refresh time.Duration) round {
	t.Helper()
	r.do(t, r.all, processes.Order{Do: "see"})
	r.forget(t)
	r.do(t, r.all, processes.Order{Do: "hand over", Limit: 1, Pause: refresh})
	return r.judge(t, len(r.all)-1)
}

// crowd has the first agent refresh, and so many of the second one wait for it.
func (r *relay) crowd(t *testing.T, waiters int, refresh time.Duration) round {
	t.Helper()
	r.do(t, r.all[:2], processes.Order{Do: "see"})
	r.forget(t)
	holder := r.all[0].Order(t, processes.Order{Do: "hand over", Limit: 1, Pause: refresh, Timeout: processes.Patience})
	processes.Eventually(t, "the token call begins", func() bool { return len(r.times(t)[noteCalled]) > 0 })
	r.do(t, r.all[1:2], processes.Order{Do: "hand over", Limit: int64(waiters)})
	holder.Wait(t).Want(t, "the holder")
	return r.judge(t, waiters)
}

// A round is one refresh, and those who waited for it.
type round struct {
	took    time.Duration   // the refresh, from the token call to the saved token
	waiters []time.Duration // how long after that they had it, sorted
	call    time.Duration   // the token call
	asked   int             // how often the engine was asked during the call, by all
}

func (r round) last() time.Duration { return r.waiters[len(r.waiters)-1] }

func (r round) perSecond() float64 { return float64(r.asked) / r.call.Seconds() }

// judge reads the notes of a refresh for which so many waited.
func (r *relay) judge(t *testing.T, waiters int) round {
	t.Helper()
	times := r.times(t)
	called, answered, holder, served := times[noteCalled], times[noteAnswered], times[noteHolder], times[noteServed]
	if len(called) != 1 || len(holder) != 1 || len(served) != waiters {
		t.Fatalf("%d token calls, %d holders, %d waited; want 1, 1 and %d", len(called), len(holder), len(served), waiters)
	}
	found := round{took: holder[0].Sub(called[0]), call: answered[0].Sub(called[0])}
	for _, s := range served {
		found.waiters = append(found.waiters, s.Sub(holder[0]))
	}
	for _, a := range times[noteAsked] {
		if a.After(called[0]) && a.Before(answered[0]) {
			found.asked++
		}
	}
	return found
}

// together is how long all agents take for one Load each, which they begin at the same time.
func (r *relay) together(t *testing.T) time.Duration {
	t.Helper()
	r.forget(t)
	r.do(t, r.all, processes.Order{Do: "load at", Limit: time.Now().Add(50 * time.Millisecond).UnixNano()})
	times := r.times(t)
	loaded := times[noteLoaded]
	return loaded[len(loaded)-1].Sub(times[noteLoads][0])
}
