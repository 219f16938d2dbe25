package processes_test

import (
	"os"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// rounds returns full, or few with -short.
func rounds(full, few int) int {
	if testing.Short() {
		return few
	}
	return full
}

// TestHard02EightProcessesOneRefresh is hard problem 2 itself: eight processes
// meet a token that does not work any more, at the same time, and the server sees
// one refresh. They are released by a barrier: each has said that it is ready, and
// waits for a line on its standard input. New processes each time, because those
// that know the newest token have nothing to race for.
func TestHard02EightProcessesOneRefresh(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		setup func(t *testing.T, w *world)
	}{
		{"expired", func(t *testing.T, w *world) { w.loginExpired(t, "alice") }},
		{"refused", func(t *testing.T, w *world) { // only a 401 tells
			w.login(t, "alice")
			w.srv.RevokeAccess("alice")
		}},
		{"about to expire", func(t *testing.T, w *world) { // in the background, nobody waits
			token := w.issue("alice")
			token.Issued = time.Now().Add(-14 * time.Minute)
			token.Expiry = token.Issued.Add(15 * time.Minute)
			w.put(t, token)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			const processes = 8
			w := newWorld(t)
			w.base.OAuth2 = tc.name == "expired"
			for round := range 10 {
				tc.setup(t, w)
				agents := w.startAll(t, processes, nil)
				gets := make([]*pending, processes)
				for i, p := range agents {
					gets[i] = p.order(t, order{Do: "get"})
				}
				for i, q := range gets {
					q.wait(t).wantOK(t, agents[i].name, "alice")
				}
				// Close has little patience for one that has not begun.
				eventually(t, "a refresh", func() bool { return w.gate.begun() > round })
				closes := make([]*pending, processes)
				for i, p := range agents {
					closes[i] = p.order(t, order{Do: "close"}) // waits for what is in the background
				}
				for i, q := range closes {
					q.wait(t).want(t, agents[i].name+": Close")
				}
				w.wantRefreshes(t, round+1, 0)
				w.wantStored(t, tokenclient.Active, 2)
				for _, p := range agents {
					p.kill()
				}
				if t.Failed() {
					t.Fatalf("in round %d", round+1)
				}
			}
		})
	}
}

// TestHard02TwoProcessesHolderKilled kills the process that is in the middle of
// the call everybody waits for. The request had no effect, so nobody is logged
// out; but the others must not present the token before the dead process's request
// is over, nor wait much longer than that.
func TestHard02TwoProcessesHolderKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.base.RefreshTimeout = 5 * time.Second // the holder must not give up before it is killed
	w.loginExpired(t, "alice")
	agents := w.startAll(t, 8, nil)
	held := w.gate.holdNext(beforeServer)
	holder, others := agents[0], agents[1:]
	holder.order(t, order{Do: "get"})
	held.waitReached(t)
	var gets []*pending
	for _, p := range others {
		gets = append(gets, p.order(t, order{Do: "get"}))
	}
	claim, err := os.Stat(w.file(account)) // written before the request was sent
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	holder.kill()
	for i, q := range gets {
		q.wait(t).wantOK(t, others[i].name, "alice")
	}
	took := time.Since(killed)
	t.Logf("others went on %v after the kill, RefreshTimeout is %v", took.Round(time.Millisecond), w.base.RefreshTimeout)
	if limit := w.base.RefreshTimeout + patience/3; took > limit { // a busy machine is slow
		t.Errorf("others went on %v after the kill, want about %v", took, w.base.RefreshTimeout)
	}
	calls := w.gate.history()
	w.wantRefreshes(t, 1, 0) // the first one did not get to the server
	if len(calls) != 2 {
		t.Fatalf("%d presentations, want 2", len(calls))
	}
	if early := w.base.RefreshTimeout - calls[1].Arrived.Sub(claim.ModTime()); early > 0 {
		t.Errorf("the token was presented again %v before the dead process's request was over", early)
	}
	w.wantStored(t, tokenclient.Active, 2)
}

// TestHard02TwoProcessesAdoptAfterLateKill kills the holder after it has saved and
// before it has told anybody: the others find the new token and wait for nothing.
func TestHard02TwoProcessesAdoptAfterLateKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	holder, other := w.start(t, nil), w.start(t, nil)
	holder.get(t).wantOK(t, holder.name, "alice")
	holder.kill()
	other.get(t).wantOK(t, other.name, "alice")
	w.wantRefreshes(t, 1, 0)
}

// TestHard02TwoProcessesOneBehind has one process that still holds the token
// before the last: a 401 for that must lead it to the store and not to the server.
func TestHard02TwoProcessesOneBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	ahead, behind := w.start(t, nil), w.start(t, nil)
	behind.get(t).wantOK(t, behind.name, "alice")
	for range 2 {
		w.srv.RevokeAccess("alice")
		ahead.get(t).wantOK(t, ahead.name, "alice")
	}
	behind.get(t).wantOK(t, behind.name, "alice")
	w.wantRefreshes(t, 2, 0)
	w.wantStored(t, tokenclient.Active, 3)
}
