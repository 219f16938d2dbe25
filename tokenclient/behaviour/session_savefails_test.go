package behaviour_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// saveRig is a rig over an unsavedStore that counts SaveFailed.
type saveRig struct {
	*sessiontest.Rig
	store  *unsavedStore
	failed []error
	login0 *tokenclient.Token
}

func newSaveRig(t *testing.T) *saveRig {
	r := &saveRig{store: new(unsavedStore)}
	r.Rig = sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
		c.Store, c.Key = r.store, "alice"
		c.Hooks = &tokenclient.Hooks{SaveFailed: func(i tokenclient.RefreshInfo, err error) {
			if i.Key != "alice" {
				t.Errorf("SaveFailed for key %q", i.Key)
			}
			r.failed = append(r.failed, err)
		}}
	})
	r.login0 = r.Login(t)
	return r
}

// stored is the refresh token in the store.
func (r *saveRig) stored(t *testing.T) string {
	rec, err := r.store.Load(context.Background(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	return rec.Token.RefreshToken
}

// TestSaveFails: the new pair cannot be stored. It is used all the same, the
// program is told, and the save is tried again, less and less often, until it
// works.
func TestSaveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		const fails = 6
		r.store.set(fails)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.WantGet(t, 200)
		if r.stored(t) != r.login0.RefreshToken {
			t.Error("the store was written")
		}
		time.Sleep(10 * time.Minute)
		now, err := r.Session.Peek(t.Context())
		if err != nil || r.stored(t) != now.RefreshToken || now.RefreshToken == r.login0.RefreshToken {
			t.Errorf("the new token is not stored; token %v, error %v", now, err)
		}
		synctest.Wait()
		if len(r.failed) != fails {
			t.Errorf("SaveFailed was called %d times, want %d", len(r.failed), fails)
		}
		for _, err := range r.failed {
			var unsaved *tokenclient.NotSavedError
			if !errors.As(err, &unsaved) || !errors.Is(err, errNoSpace) || unsaved.Token.RefreshToken != now.RefreshToken {
				t.Errorf("SaveFailed with %v", err)
			}
		}
		if n := len(r.store.tried); n != fails+1 {
			t.Errorf("saved %d times, want %d", n, fails+1)
		}
		for i, wait := 1, time.Second; i < len(r.store.tried); i, wait = i+1, 2*wait {
			if got := r.store.tried[i].Sub(r.store.tried[i-1]); got < wait/2 || got > wait {
				t.Errorf("try %d came after %v, want up to %v", i+1, got, wait)
			}
		}
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

// TestSaveFailsNeverTheOldPair: while nothing can be stored, further refreshes
// present what was issued last, and when the disk has room again, that is what
// the store gets.
func TestSaveFailsNeverTheOldPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		r.store.set(1 << 30)
		for range 4 {
			time.Sleep(20 * time.Minute)
			r.WantGet(t, 200)
		}
		if c := r.Server.Counters(); c.Refreshes != 4 || c.Reuses != 0 {
			t.Errorf("%d refreshes, %d reuses", c.Refreshes, c.Reuses)
		}
		r.store.set(0)
		time.Sleep(5 * time.Minute)
		now, err := r.Session.Peek(t.Context())
		if err != nil || r.stored(t) != now.RefreshToken {
			t.Errorf("the newest token is not stored; error %v", err)
		}
	})
}

// TestSaveFailsCloseReports: Close makes the last attempt, says what is lost if that
// fails, and can be called again.
func TestSaveFailsCloseReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		r.store.set(1 << 30)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		now, err := r.Session.Peek(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = r.Session.Close(t.Context())
		var unsaved *tokenclient.NotSavedError
		if !errors.As(err, &unsaved) || unsaved.Token.RefreshToken != now.RefreshToken || unsaved.Key != "alice" || !errors.Is(err, errNoSpace) {
			t.Fatalf("Close: %v, want a *NotSavedError with the new token", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		if _, err := r.Get(t.Context()); !errors.Is(err, tokenclient.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		r.store.set(0)
		if err := r.Session.Close(t.Context()); err != nil {
			t.Errorf("Close when there is room again: %v", err)
		}
		if r.stored(t) != now.RefreshToken {
			t.Error("Close did not store the new token")
		}
	})
}

// TestSaveFailsLogout: a logout ends the attempts, so that no save brings
// the session back, and nothing is left for Close to report.
func TestSaveFailsLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		r.store.set(3)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.Logout(t)
		time.Sleep(10 * time.Minute)
		if rec, err := r.store.Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrNoToken) {
			t.Errorf("the store holds %v, error %v", rec, err)
		}
		if err := r.Session.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
