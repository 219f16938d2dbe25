package fleet_test

import (
	"slices"
	"testing"
	"time"
)

// TestThirtyTwoProcessesOneRefresh has 32 processes meet a token that does not work
// any more, all at once: the server sees one refresh, and each process gets its
// answer. At first the token has expired, and the processes know it from the store;
// then the server refuses it three times, and a 401 tells. Then there are others.
//
// It prints how long after the end of the refresh the last of them was served.
func TestThirtyTwoProcessesOneRefresh(t *testing.T) {
	const members, rounds = 32, 4
	fleets := 3
	if testing.Short() {
		fleets = 1
	}
	for _, name := range engineNames {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name, 20*time.Second, 10*time.Second)
			w.gate.delay = func() time.Duration { return 150 * time.Millisecond } // long enough for all to wait
			var last []time.Duration
			for range fleets {
				if err := w.loginExpired(t.Context()); err != nil {
					t.Fatal(err)
				}
				var all []*process
				for range members {
					all = append(all, w.launch(t))
				}
				for _, p := range all {
					p.next(t)
				}
				for round := range rounds {
					if round > 0 {
						w.srv.RevokeAccess(account)
					}
					last = append(last, w.race(t, all, len(last)))
				}
				for _, p := range all {
					p.kill()
				}
			}
			trip := w.roundTrip(t)
			slices.Sort(last)
			t.Logf("%s: %d processes, %d rounds: 1 refresh each, all served", name, members, len(last))
			t.Logf("%s: last of %d served after the end of the refresh: median %v, maximum %v; one Load: %v", name, members,
				last[len(last)/2].Round(time.Millisecond), last[len(last)-1].Round(time.Millisecond), trip.Round(time.Microsecond))
		})
	}
}

// race releases all processes at once, and returns how long after the refresh the last
// of them was served. There were as many refreshes before as before says.
func (w *world) race(t *testing.T, all []*process, before int) time.Duration {
	t.Helper()
	for _, p := range all {
		p.order(t, order{ID: 1, Do: "get", Timeout: patience})
	}
	var served time.Time
	for _, p := range all {
		r := p.next(t)
		if r.Err != "" {
			t.Errorf("refresh %d: %s: %s %q", before, p.name, r.Err, r.Kinds)
		}
		if end := r.Began.Add(r.Took); end.After(served) {
			served = end
		}
	}
	calls := w.gate.history()
	if c := w.srv.Counters(); c.Refreshes != before+1 || c.Reuses != 0 || len(calls) != before+1 {
		t.Fatalf("%d calls, %+v, want %d refreshes and no reuse", len(calls), c, before+1)
	}
	return served.Sub(calls[before].Answered.Add(w.gate.delay()))
}

// roundTrip is the median time that it takes to ask the engine.
func (w *world) roundTrip(t testing.TB) time.Duration {
	t.Helper()
	times := make([]time.Duration, 101)
	for i := range times {
		began := time.Now()
		if _, err := w.store.Load(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2]
}
