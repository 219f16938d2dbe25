package behaviour_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestRenewedTwoProcesses: two sessions over one store live from each other's
// renewals.
func TestRenewedTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSlidingRig(t, tokentest.Options{}, nil)
		b := a.twin(t)
		b.WantGet(t, 200)
		first := b.Access(t)
		synctest.Wait()
		for range 4 { // b sleeps, far beyond its own token
			time.Sleep(10 * time.Minute)
			a.WantGet(t, 200)
		}
		b.WantGet(t, 200)
		if b.Access(t) == first {
			t.Error("b has the token that it had")
		}
		if c := a.Server.Counters(); c.Unauthorized != 0 {
			t.Errorf("%+v", c)
		}
		// Both in turn and at once, for long.
		for range 20 {
			time.Sleep(10 * time.Minute)
			both(a.Rig, b, func(r *sessiontest.Rig) { r.WantGet(t, 200) })
			b.WantGet(t, 200)
			a.WantGet(t, 200)
		}
		if c := a.Server.Counters(); c.Unauthorized != 0 {
			t.Errorf("%+v", c)
		}
		synctest.Wait()
		if writes := a.store.writes.Load(); int(writes) > a.Server.Counters().Renewals {
			t.Errorf("%d writes for %d renewals", writes, a.Server.Counters().Renewals)
		}

		// A logout in one ends the other as soon as it looks.
		b.Logout(t)
		a.WantGet(t, 200) // the server does not know; the answer is a renewal to save
		synctest.Wait()
		_, err := a.Get(t.Context())
		sessiontest.WantErr(t, "after the other's logout", err, tokenclient.ErrLoginRequired)
		if _, err := a.store.Load(t.Context(), "alice"); err == nil {
			t.Error("the logout was undone in the store")
		}
	})
}

// TestRenewedLaterWins: of two tokens that two processes were sent for the same
// record the one that was asked for later stays, whichever is stored first.
func TestRenewedLaterWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSlidingRig(t, tokentest.Options{}, nil)
		b := a.twin(t)
		b.Access(t) // loads
		a.WantGet(t, 200)
		a.wantStored(t, 2)
		time.Sleep(14 * time.Minute)
		b.WantGet(t, 200)
		newest := b.Access(t)
		if rec := a.stored(t); rec.Number != 3 || rec.Token.AccessToken != newest || b.Access(t) != newest {
			t.Errorf("record %d, not b's token", rec.Number)
		}
		time.Sleep(14 * time.Minute)
		both(a.Rig, b, func(r *sessiontest.Rig) { r.WantGet(t, 200) }) // a has to look
	})
}

// TestRenewedOlderLoses is the other half of TestRenewedLaterWins.
func TestRenewedOlderLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := newAnswersRig(t, nil)
		late := r.send("/late")
		time.Sleep(time.Minute)

		// Another process is sent a token, and stores it, meanwhile.
		other := new(answers)
		twin := sessiontest.NewFake(t, nil, other.RoundTrip, func(c *tokenclient.Config) { slides(c, r.store) })
		done := (&slidingRig{Rig: twin}).send("/")
		other.answer("/", "T2")
		<-done

		a.answer("/late", "T1")
		<-late
		if rec := r.stored(t); rec.Token.AccessToken != "T2" || rec.Number != 2 || r.Access(t) != "T2" {
			t.Errorf("record %d has %q, the session %q; want T2", rec.Number, rec.Token.AccessToken, r.Access(t))
		}
		if r.store.writes.Load() != 1 {
			t.Errorf("%d writes", r.store.writes.Load())
		}
	})
}
