package fleet_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
)

// TestThirtyTwoProcessesOneRefresh has 32 processes meet a token that does not work
// any more, all at once: the server sees one refresh, and each process gets its
// answer. At first the token has expired, and the processes know it from the store;
// then the server refuses it three times, and a 401 tells. Then there are others.
//
// It prints how long after the end of the refresh the last of them was served.
func TestThirtyTwoProcessesOneRefresh(t *testing.T) {
	const agents, rounds = 32, 4
	fleets := 3
	if testing.Short() {
		fleets = 1
	}
	for _, name := range engineNames {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name, 20*time.Second, 10*time.Second)
			w.Gate.Delay = func() time.Duration { return 150 * time.Millisecond } // long enough for all to wait
			var last []time.Duration
			for range fleets {
				if err := w.Put(t.Context(), account, w.IssueExpired(account)); err != nil {
					t.Fatal(err)
				}
				all := w.StartAll(t, agents, nil)
				for round := range rounds {
					if round > 0 {
						w.Server.RevokeAccess(account)
					}
					last = append(last, w.race(t, all, len(last)))
				}
				for _, p := range all {
					p.Kill()
				}
			}
			trip := w.roundTrip(t)
			slices.Sort(last)
			t.Logf("%s: %d processes, %d rounds: 1 refresh each, all served", name, agents, len(last))
			t.Logf("%s: last of %d served after the end of the refresh: median %v, maximum %v; one Load: %v", name, agents,
				last[len(last)/2].Round(time.Millisecond), last[len(last)-1].Round(time.Millisecond), trip.Round(time.Microsecond))
		})
	}
}

// race releases all processes at once, and returns how long after the refresh the last
// of them was served. There were as many refreshes before as before says.
func (w *world) race(t *testing.T, all []*processes.Process, before int) time.Duration {
	t.Helper()
	var served time.Time
	for _, q := range processes.OrderAll(t, all, processes.Order{Do: "get", Timeout: processes.Patience}) {
		a := q.Wait(t)
		a.WantServed(t, fmt.Sprintf("refresh %d: %s", before, q.Process.Name), account)
		if end := a.Began.Add(a.Took); end.After(served) {
			served = end
		}
	}
	calls := w.Gate.History()
	if c := w.Server.Counters(); c.Refreshes != before+1 || c.Reuses != 0 || len(calls) != before+1 {
		t.Fatalf("%d calls, %+v, want %d refreshes and no reuse", len(calls), c, before+1)
	}
	return served.Sub(calls[before].Answered.Add(w.Gate.Delay()))
}

// roundTrip is the median time that it takes to ask the engine.
func (w *world) roundTrip(t testing.TB) time.Duration {
	t.Helper()
	times := make([]time.Duration, 101)
	for i := range times {
		began := time.Now()
		if _, err := w.Store.Load(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2]
}
