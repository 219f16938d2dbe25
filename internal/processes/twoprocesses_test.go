package processes_test

import (
	"os"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// rounds returns full, or few with -short.
func rounds(full, few int) int {
	if testing.Short() {
		return few
	}
	return full
}

// TestEightProcessesOneRefresh has eight processes meet a token that does not work any
// more, at the same time, and the server sees one refresh. They are released by a
// barrier: each has said that it is ready, and waits for a line on its standard input.
// New processes each time, because those that know the newest token have nothing to
// race for.
func TestEightProcessesOneRefresh(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		setup func(t *testing.T, w *world)
	}{
		{"expired", func(t *testing.T, w *world) { w.loginExpired(t, "alice") }},
		{"refused", func(t *testing.T, w *world) { // only a 401 tells
			w.login(t, "alice")
			w.Server.RevokeAccess("alice")
		}},
		{"about to expire", func(t *testing.T, w *world) { // in the background, nobody waits
			token := w.Issue("alice")
			token.Issued = time.Now().Add(-14 * time.Minute)
			token.Expiry = token.Issued.Add(15 * time.Minute)
			w.put(t, token)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Base.OAuth2 = tc.name == "expired"
			for round := range 10 {
				tc.setup(t, w)
				agents := w.StartAll(t, 8, nil)
				for _, q := range processes.OrderAll(t, agents, processes.Order{Do: "get"}) {
					q.Wait(t).WantServed(t, q.Process.Name, "alice")
				}
				// Close has little patience for one that has not begun.
				processes.Eventually(t, "a refresh", func() bool { return w.Gate.Begun() > round })
				for _, q := range processes.OrderAll(t, agents, processes.Order{Do: "close"}) {
					q.Wait(t).Want(t, q.Process.Name+": Close, which waits for what is in the background")
				}
				w.WantRefreshes(t, round+1, 0)
				w.wantStored(t, tokenclient.Active, 2)
				for _, p := range agents {
					p.Kill()
				}
				if t.Failed() {
					t.Fatalf("in round %d", round+1)
				}
			}
		})
	}
}

// TestTwoProcessesHolderKilled kills the process that is in the middle of
// the call everybody waits for. The request had no effect, so nobody is logged
// out; but the others must not present the token before the dead process's request
// is over, nor wait much longer than that.
func TestTwoProcessesHolderKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Base.RefreshTimeout = 5 * time.Second // the holder must not give up before it is killed
	holder, others := w.refreshing(t, processes.BeforeServer, 7)
	gets := processes.OrderAll(t, others, processes.Order{Do: "get"})
	claim, err := os.Stat(w.file(account)) // written before the request was sent
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	holder.Kill()
	for _, q := range gets {
		q.Wait(t).WantServed(t, q.Process.Name, "alice")
	}
	took := time.Since(killed)
	t.Logf("others went on %v after the kill, RefreshTimeout is %v", took.Round(time.Millisecond), w.Base.RefreshTimeout)
	if limit := w.Base.RefreshTimeout + processes.Patience/3; took > limit { // a busy machine is slow
		t.Errorf("others went on %v after the kill, want about %v", took, w.Base.RefreshTimeout)
	}
	calls := w.Gate.History()
	w.WantRefreshes(t, 1, 0) // the first one did not get to the server
	if len(calls) != 2 {
		t.Fatalf("%d presentations, want 2", len(calls))
	}
	if early := w.Base.RefreshTimeout - calls[1].Arrived.Sub(claim.ModTime()); early > 0 {
		t.Errorf("the token was presented again %v before the dead process's request was over", early)
	}
	w.wantStored(t, tokenclient.Active, 2)
}

// TestTwoProcessesAdoptAfterLateKill kills the holder after it has saved and
// before it has told anybody: the others find the new token and wait for nothing.
func TestTwoProcessesAdoptAfterLateKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	holder, other := w.Start(t, nil), w.Start(t, nil)
	holder.Get(t).WantServed(t, holder.Name, "alice")
	holder.Kill()
	other.Get(t).WantServed(t, other.Name, "alice")
	w.WantRefreshes(t, 1, 0)
}

// TestTwoProcessesOneBehind has one process that still holds the token
// before the last: a 401 for that must lead it to the store and not to the server.
func TestTwoProcessesOneBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	ahead, behind := w.Start(t, nil), w.Start(t, nil)
	behind.Get(t).WantServed(t, behind.Name, "alice")
	for range 2 {
		w.Server.RevokeAccess("alice")
		ahead.Get(t).WantServed(t, ahead.Name, "alice")
	}
	behind.Get(t).WantServed(t, behind.Name, "alice")
	w.WantRefreshes(t, 2, 0)
	w.wantStored(t, tokenclient.Active, 3)
}
