package processes_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// raceInstants are where process B is when process A logs out.
var raceInstants = []struct {
	name  string
	stage stage
	calls int // of the refresh endpoint
}{
	{"before the call", -1, 0},
	{"during the call", beforeServer, 1},
	{"after the server rotated", afterServer, 1},
}

// TestHard06LogoutRace logs out in process A while process B refreshes. The session
// must not rise again: the store says so, B says so, B sends nothing any more, and
// what B got from the server is revoked there.
//
// In half of the cases A cannot revoke anything (it has a JSON endpoint), so that
// it must be B who does.
func TestHard06LogoutRace(t *testing.T) {
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
				a := w.start(t, func(s *settings) { s.OAuth2 = revokes })
				b := w.start(t, func(s *settings) { s.OAuth2 = true })
				b.do(t, order{Do: "peek"}).want(t, "peek")
				var held *hold
				var get *pending
				if at.calls > 0 {
					held = w.gate.holdNext(at.stage)
					get = b.order(t, order{Do: "get"})
					held.waitReached(t)
				}
				a.do(t, order{Do: "logout"}).want(t, "Logout, which waits for nobody")
				if at.calls > 0 {
					held.release()
					get.wait(t).wantKind(t, "B, which was refreshing", "ErrLoginRequired")
				}
				for range 2 {
					b.get(t).wantKind(t, "B afterwards", "ErrLoginRequired")
				}
				b.waitEvent(t, "SessionEnded").wantKind(t, "Hooks.SessionEnded", "ErrLoginRequired")
				a.get(t).wantKind(t, "A afterwards", "ErrLoggedOut")
				w.start(t, nil).get(t).wantKind(t, "a later process", "ErrLoginRequired")
				w.wantStored(t, tokenclient.LoggedOut, 0)
				if c := w.srv.Counters(); c.Requests != 0 || c.Reuses != 0 {
					t.Errorf("%d requests with a token of a session that was logged out, %d reuses; want none", c.Requests, c.Reuses)
				}

				calls := w.gate.history()
				if len(calls) != at.calls {
					t.Errorf("%d calls of the refresh endpoint, want %d", len(calls), at.calls)
				}
				revoked := w.gate.revocations()
				for _, c := range calls {
					if c.rotated() && !slices.Contains(revoked, c.Refresh) {
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

// TestHard06LogoutRaceNewUser logs in as somebody else during the old user's
// refresh: the new pair must survive, the old one must not come back over it, and B
// goes on as the new user.
func TestHard06LogoutRaceNewUser(t *testing.T) {
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
				a, b := w.start(t, nil), w.start(t, func(s *settings) { s.OAuth2 = true })
				held := w.gate.holdNext(at.stage)
				get := b.order(t, order{Do: "get"})
				held.waitReached(t)
				if logout {
					a.do(t, order{Do: "logout"}).want(t, "Logout")
				}
				a.login(t, w.issue("bob"))
				held.release()
				get.wait(t).wantOK(t, "B, which was refreshing", "bob")

				for _, p := range []*process{a, b, w.start(t, nil)} {
					p.get(t).wantOK(t, p.name+" afterwards", "bob")
				}
				w.wantStored(t, tokenclient.Active, 1)
				w.wantRefreshes(t, 1, 0)
				calls := w.gate.history()
				if !slices.Contains(w.gate.revocations(), calls[0].Refresh) {
					t.Error("the old user's new token was not revoked")
				}
				w.wantEndedAll(t, calls)

				w.srv.RevokeAccess("bob") // the refresh token must be the right one too
				b.get(t).wantOK(t, "B after a refresh", "bob")
			})
		}
	}
}

// TestHard06LogoutRaceAfterAnswer logs out when B has just saved. B cannot know and
// sends its token once more; the server refuses it, because A revoked the login,
// and that ends it for B.
func TestHard06LogoutRaceAfterAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loginExpired(t, "alice")
	oauth := func(s *settings) { s.OAuth2 = true }
	a, b := w.start(t, oauth), w.start(t, oauth)
	b.get(t).wantOK(t, "B", "alice")
	a.do(t, order{Do: "logout"}).want(t, "Logout")
	for range 2 {
		b.get(t).wantKind(t, "B afterwards", "ErrLoginRequired")
	}
	w.wantStored(t, tokenclient.LoggedOut, 0)
	w.wantRefreshes(t, 1, 0)
	if c := w.srv.Counters(); c.Requests != 2 || c.Unauthorized != 1 {
		t.Errorf("%d requests, %d refused; want 2 and 1", c.Requests, c.Unauthorized)
	}
	w.wantEndedAll(t, w.gate.history())
}

// TestHard06LogoutRaceRandom logs out at random instants of B's refresh, the write
// to the store included. Whoever comes first, the store is logged out at the end,
// and no token is left that works.
func TestHard06LogoutRaceRandom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.slow(8*time.Millisecond, 8*time.Millisecond)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	span := 40 * time.Millisecond // follows the load: each comes first about as often
	served, ended := 0, 0
	for round := range rounds(40, 8) {
		w.loginExpired(t, "alice")
		agents := w.startAll(t, 2, func(s *settings) { s.OAuth2 = true })
		a, b := agents[0], agents[1]
		get := b.order(t, order{Do: "get"})
		timer := time.NewTimer(time.Duration(random.Int64N(int64(span)))) // the instant is what is tried
		<-timer.C
		logout := a.order(t, order{Do: "logout"})
		got := get.wait(t)
		logout.wait(t).want(t, "Logout")
		if got.Status == 200 {
			served++
			span = span * 4 / 5
		} else {
			got.wantKind(t, "B", "ErrLoginRequired")
			ended++
			span = span * 5 / 4
		}
		if stored := w.stored(t); stored.State != tokenclient.LoggedOut {
			t.Errorf("stored: %v, number %d; want it logged out", stored.State, stored.Number)
		}
		b.get(t).wantKind(t, "B afterwards", "ErrLoginRequired")
		if c := w.srv.Counters(); c.Reuses != 0 {
			t.Errorf("%d reuses", c.Reuses)
		}
		a.kill()
		b.kill()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("B was served first %d times, logged out first %d times", served, ended)
	w.wantEndedAll(t, w.gate.history())
}
