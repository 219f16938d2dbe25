package fleet_test

import (
	"slices"
	"testing"
	"time"
)

// TestThirtyTwoProcessesOneRefresh has 32 processes meet a token that does not work
// any more, all at once: the server sees one refresh, and each process gets its
// answer. At first the token has expired, and the processes know it from the store;
// then the server refuses it, and a 401 tells.
//
// It prints how long after the end of the refresh the last of them was served.
func TestThirtyTwoProcessesOneRefresh(t *testing.T) {
	const members = 32
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for _, name := range engineNames {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, name, 20*time.Second, 10*time.Second)
			w.gate.delay = func() time.Duration { return 150 * time.Millisecond } // long enough for all to wait
			if err := w.login(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			var all []*process
			for range members {
				all = append(all, w.launch(t))
			}
			for _, p := range all {
				p.next(t)
			}
			var last []time.Duration
			for round := range rounds {
				if round > 0 {
					w.srv.RevokeAccess(account)
				}
				for _, p := range all {
					p.order(t, order{ID: round + 1, Do: "get", Timeout: patience})
				}
				var served time.Time
				for _, p := range all {
					r := p.next(t)
					if r.Err != "" {
						t.Errorf("round %d: %s: %s %q", round, p.name, r.Err, r.Kinds)
					}
					if end := r.Began.Add(r.Took); end.After(served) {
						served = end
					}
				}
				calls := w.gate.history()
				if c := w.srv.Counters(); c.Refreshes != round+1 || c.Reuses != 0 || len(calls) != round+1 {
					t.Fatalf("round %d: %d calls, %+v, want one refresh a round and no reuse", round, len(calls), c)
				}
				last = append(last, served.Sub(calls[round].Answered.Add(w.gate.delay())))
			}
			trip := w.roundTrip(t)
			slices.Sort(last)
			t.Logf("%d processes, %d rounds: 1 refresh each, all served", members, rounds)
			t.Logf("last of %d served after the end of the refresh: median %v, maximum %v; one Load: %v",
				members, last[len(last)/2].Round(time.Millisecond), last[len(last)-1].Round(time.Millisecond), trip.Round(time.Microsecond))
		})
	}
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
