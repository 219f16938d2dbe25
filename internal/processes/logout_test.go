package processes_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// raceInstants are where process B is when process A logs out.
var raceInstants = []struct {
	name  string
	stage processes.Stage
	calls int // of the refresh endpoint
}{
	{"before the call", -1, 0},
	{"during the call", processes.BeforeServer, 1},
	{"after the server rotated", processes.AfterServer, 1},
}

// TestLogoutRace logs out in process A while process B refreshes. The session
// must not rise again: the store says so, B says so, B sends nothing any more, and
// what B got from the server is revoked there.
//
// In half of the cases A cannot revoke anything (it has a JSON endpoint), so that
// it must be B who does.
func TestLogoutRace(t *testing.T) {
	t.Parallel()
	for _, at := range raceInstants {
		for _, revokes := range []bool{false, true} {
			name := at.name + ", A does not revoke"
			if revokes {
				name = at.name + ", A revokes"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				old := w.loginExpired(t, "alice")
				a := w.Start(t, func(s *processes.Settings) { s.OAuth2 = revokes })
				b := w.Start(t, func(s *processes.Settings) { s.OAuth2 = true })
				b.Do(t, processes.Order{Do: "peek"}).Want(t, "peek")
				var held *processes.Hold
				var get *processes.Pending
				if at.calls > 0 {
					held = w.Gate.HoldNext(at.stage)
					get = b.Order(t, processes.Order{Do: "get"})
					held.WaitReached(t)
				}
				a.Do(t, processes.Order{Do: "logout"}).Want(t, "Logout, which waits for nobody")
				if at.calls > 0 {
					held.Release()
					get.Wait(t).WantKind(t, "B, which was refreshing", "ErrLoginRequired")
				}
				for range 2 {
					b.Get(t).WantKind(t, "B afterwards", "ErrLoginRequired")
				}
				b.WaitEvent(t, "SessionEnded").WantKind(t, "Hooks.SessionEnded", "ErrLoginRequired")
				a.Get(t).WantKind(t, "A afterwards", "ErrLoggedOut")
				w.Start(t, nil).Get(t).WantKind(t, "a later process", "ErrLoginRequired")
				w.wantStored(t, tokenclient.LoggedOut, 0)
				if c := w.Server.Counters(); c.Requests != 0 || c.Reuses != 0 {
					t.Errorf("%d requests with a token of a session that was logged out, %d reuses; want none", c.Requests, c.Reuses)
				}

				calls := w.Gate.History()
				if len(calls) != at.calls {
					t.Errorf("%d calls of the refresh endpoint, want %d", len(calls), at.calls)
				}
				revoked := w.Gate.Revocations()
				for _, c := range calls {
					if c.Rotated() && !slices.Contains(revoked, c.Refresh) {
						t.Error("the token that B got was not revoked")
					}
				}
				if revokes && !slices.Contains(revoked, old.RefreshToken) {
					t.Error("A did not revoke what was stored")
				}
				w.wantEndedAll(t, calls)
			})
		}
	}
}

// TestLogoutRaceNewUser logs in as somebody else during the old user's
// refresh: the new pair must survive, the old one must not come back over it, and B
// goes on as the new user, but for the request that had begun as the old one.
func TestLogoutRaceNewUser(t *testing.T) {
	t.Parallel()
	for _, at := range raceInstants[1:] {
		for _, logout := range []bool{true, false} {
			name := at.name + ", login only"
			if logout {
				name = at.name + ", logout and login"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.loginExpired(t, "alice")
				a, b := w.Start(t, nil), w.Start(t, func(s *processes.Settings) { s.OAuth2 = true })
				held := w.Gate.HoldNext(at.stage)
				get := b.Order(t, processes.Order{Do: "get"})
				held.WaitReached(t)
				if logout {
					a.Do(t, processes.Order{Do: "logout"}).Want(t, "Logout")
				}
				a.Login(t, w.Issue("bob"))
				held.Release()
				get.Wait(t).WantKind(t, "B, which was refreshing for alice", "ErrReplaced")

				for _, p := range []*processes.Process{a, b, w.Start(t, nil)} {
					p.Get(t).WantServed(t, p.Name+" afterwards", "bob")
				}
				w.wantStored(t, tokenclient.Active, 1)
				w.WantRefreshes(t, 1, 0)
				calls := w.Gate.History()
				if !slices.Contains(w.Gate.Revocations(), calls[0].Refresh) {
					t.Error("the old user's new token was not revoked")
				}
				w.wantEndedAll(t, calls)

				w.Server.RevokeAccess("bob") // the refresh token must be the right one too
				b.Get(t).WantServed(t, "B after a refresh", "bob")
			})
		}
	}
}

// TestLogoutRaceAfterAnswer logs out when B has just saved. B cannot know and
// sends its token once more; the server refuses it, because A revoked the login,
// and that ends it for B.
func TestLogoutRaceAfterAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	oauth := func(s *processes.Settings) { s.OAuth2 = true }
	a, b := w.Start(t, oauth), w.Start(t, oauth)
	b.Get(t).WantServed(t, "B", "alice")
	a.Do(t, processes.Order{Do: "logout"}).Want(t, "Logout")
	for range 2 {
		b.Get(t).WantKind(t, "B afterwards", "ErrLoginRequired")
	}
	w.wantStored(t, tokenclient.LoggedOut, 0)
	w.WantRefreshes(t, 1, 0)
	if c := w.Server.Counters(); c.Requests != 2 || c.Unauthorized != 1 {
		t.Errorf("%d requests, %d refused; want 2 and 1", c.Requests, c.Unauthorized)
	}
	w.wantEndedAll(t, w.Gate.History())
}

// TestLogoutRaceRandom logs out at random instants of B's refresh, the write
// to the store included. Whoever comes first, the store is logged out at the end,
// and no token is left that works.
func TestLogoutRaceRandom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Gate.Delay = upTo(8 * time.Millisecond)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	span := 40 * time.Millisecond // follows the load: each comes first about as often
	served, ended := 0, 0
	for round := range rounds(40, 8) {
		w.loginExpired(t, "alice")
		agents := w.StartAll(t, 2, func(s *processes.Settings) { s.OAuth2 = true })
		a, b := agents[0], agents[1]
		get := b.Order(t, processes.Order{Do: "get"})
		timer := time.NewTimer(time.Duration(random.Int64N(int64(span)))) // the instant is what is tried
		<-timer.C
		logout := a.Order(t, processes.Order{Do: "logout"})
		got := get.Wait(t)
		logout.Wait(t).Want(t, "Logout")
		if got.Status == 200 {
			served++
			span = span * 4 / 5
		} else {
			got.WantKind(t, "B", "ErrLoginRequired")
			ended++
			span = span * 5 / 4
		}
		if stored := w.stored(t); stored.State != tokenclient.LoggedOut {
			t.Errorf("stored: %v, number %d; want it logged out", stored.State, stored.Number)
		}
		b.Get(t).WantKind(t, "B afterwards", "ErrLoginRequired")
		if c := w.Server.Counters(); c.Reuses != 0 {
			t.Errorf("%d reuses", c.Reuses)
		}
		a.Kill()
		b.Kill()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("B was served first %d times, logged out first %d times", served, ended)
	w.wantEndedAll(t, w.Gate.History())
}
