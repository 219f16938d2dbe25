package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestRenewedClose: Close waits for the save of a renewed token, and makes one of
// its own if the store takes no more of the session's.
func TestRenewedClose(t *testing.T) {
	for _, tc := range []struct {
		name string
		slow time.Duration
	}{{"at once", 0}, {"slow", 10 * time.Second}} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := newSlidingRig(t, tokentest.Options{}, nil)
			r.store.slow = tc.slow
			var newest string
			for range 5 {
				r.WantGet(t, 200)
				newest = r.Access(t)
			}
			if err := r.Session.Close(t.Context()); err != nil {
				t.Error(err)
			}
			rec, err := r.store.Load(t.Context(), "alice")
			if err != nil || rec.Token.AccessToken != newest {
				t.Errorf("error %v; the newest token is not stored", err)
			}
			_, err = r.Get(t.Context())
			sessiontest.WantErr(t, "after Close", err, tokenclient.ErrClosed)
		})
	}
}

// TestRenewedStoreDown: a renewed token is used although the store is down, saved
// when it is back, and reported by Close if it is not.
func TestRenewedStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &sessiontest.StepStore{Store: new(store.Memory)}
		var failed []error
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Store = down
			c.Hooks = &tokenclient.Hooks{SaveFailed: func(_ tokenclient.RefreshInfo, err error) { failed = append(failed, err) }}
		})
		stored := func() string {
			rec, err := down.Store.Load(context.Background(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			return rec.Token.AccessToken
		}
		wantFailed := func() {
			t.Helper()
			synctest.Wait()
			if len(failed) == 0 {
				t.Fatal("SaveFailed was not called")
			}
			for _, err := range failed {
				var unsaved *tokenclient.NotSavedError
				if !errors.As(err, &unsaved) || unsaved.Token == nil || unsaved.Key != "alice" {
					t.Errorf("SaveFailed with %v", err)
				}
				sessiontest.WantErr(t, "SaveFailed", err, tokenclient.ErrStoreUnavailable)
			}
		}
		down.Broken.Store(true)
		for range 10 {
			r.WantGet(t, 200)
			time.Sleep(10 * time.Minute)
		}
		wantFailed()
		if n := int(down.Refreshes.Load()); n < 20 || n > 400 {
			t.Errorf("%d attempts to save in 100 minutes", n)
		}
		down.Broken.Store(false)
		time.Sleep(2 * time.Minute)
		if stored() != r.Access(t) {
			t.Error("not saved when the store was back")
		}

		// Save by hand.
		down.Broken.Store(true)
		synctest.Wait() // until the hooks have run
		failed = nil
		r.WantGet(t, 200)
		wantFailed()
		var unsaved *tokenclient.NotSavedError
		errors.As(failed[0], &unsaved)
		sessiontest.WantErr(t, "Save", unsaved.Save(t.Context()), tokenclient.ErrStoreUnavailable)
		down.Broken.Store(false)
		if err := unsaved.Save(t.Context()); err != nil || stored() != r.Access(t) {
			t.Errorf("Save: %v", err)
		}

		// Close reports, and may be called again.
		down.Broken.Store(true)
		time.Sleep(10 * time.Minute)
		r.WantGet(t, 200)
		newest := r.Access(t)
		err := r.Session.Close(t.Context())
		if unsaved = nil; !errors.As(err, &unsaved) || unsaved.Token.AccessToken != newest {
			t.Errorf("Close: %v", err)
		}
		sessiontest.WantErr(t, "Close", err, tokenclient.ErrStoreUnavailable)
		down.Broken.Store(false)
		if err := r.Session.Close(t.Context()); err != nil || stored() != newest {
			t.Errorf("the second Close: %v", err)
		}
	})
}

// TestRenewedNotSaved: the store fails after it was ready to save.
func TestRenewedNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := new(unsavedStore)
		var failed int
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Store = kept
			c.Hooks = &tokenclient.Hooks{SaveFailed: func(tokenclient.RefreshInfo, error) { failed++ }}
		})
		kept.set(3)
		r.WantGet(t, 200)
		r.WantGet(t, 200)
		time.Sleep(5 * time.Minute)
		r.WantGet(t, 200)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		rec, err := kept.Load(t.Context(), "alice")
		if err != nil || rec.Token.AccessToken != r.Access(t) || failed == 0 {
			t.Errorf("record %d, error %v, %d failures; not the session's token", rec.Number, err, failed)
		}

		kept.set(1 << 20)
		r.WantGet(t, 200)
		synctest.Wait()
		var unsaved *tokenclient.NotSavedError
		if err := r.Session.Close(t.Context()); !errors.As(err, &unsaved) || !errors.Is(err, errNoSpace) {
			t.Errorf("Close: %v", err)
		}
		kept.set(0)
		if err := r.Session.Close(t.Context()); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		if rec, err := kept.Load(t.Context(), "alice"); err != nil || rec.Token.AccessToken != unsaved.Token.AccessToken {
			t.Errorf("error %v; the token is not stored", err)
		}
	})
}

// TestRenewedNotSavedThenLogin: a save that a login made needless revokes nothing.
func TestRenewedNotSavedThenLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := new(unsavedStore)
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Store, c.Refresher = kept, srv.OAuth2Refresher()
		})
		r.Login(t)
		kept.set(1)
		r.WantGet(t, 200)
		synctest.Wait()
		login := r.Login(t)
		time.Sleep(5 * time.Minute)
		if c := r.Server.Counters(); c.Revocations != 0 {
			t.Errorf("%+v", c)
		}
		if rec, err := kept.Load(t.Context(), "alice"); err != nil || rec.Token.AccessToken != login.AccessToken {
			t.Errorf("error %v; not the login's token", err)
		}
	})
}

// TestRenewedFile: what is stored in a sealed file is there for the next process.
func TestRenewedFile(t *testing.T) {
	key, err := store.KeyBytes("k", []byte(secretSealing))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tokens")
	var sent atomic.Int32
	open := func() *sessiontest.Rig {
		files, err := store.NewFile(dir, store.Seal(key))
		if err != nil {
			t.Fatal(err)
		}
		return sessiontest.NewFake(t, nil, func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, 200)
			resp.Header.Set(slidingHeader, fmt.Sprintf("T%d", sent.Add(1)))
			return resp, nil
		}, func(c *tokenclient.Config) {
			slides(c, files)
		})
	}
	r := open()
	r.Give(t, sessiontest.Pair("T0", "", 0))
	for range 3 {
		for range 20 {
			r.WantGet(t, 200)
		}
		last := r.Access(t)
		sessiontest.Close(t, r.Session)
		r = open()
		if got := r.Access(t); got != last {
			t.Errorf("the next process has %s, want %s", got, last)
		}
	}
}

// TestRenewedSaveSeenEarly: a look at the store between a save and its return makes
// no other generation of the same token.
func TestRenewedSaveSeenEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := &sessiontest.StepStore{Store: new(store.Memory), Written: sessiontest.NewBarrier()}
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Store, c.Refresher = step, heartbeat(srv)
		})
		r.WantGet(t, 200)
		<-step.Written.Reached // it is stored, and the session does not know
		before := r.adopted.Load()
		r.Server.Set(func(o *tokentest.Options) { o.SlidingHeader = false })
		time.Sleep(14 * time.Minute) // early refreshes look
		r.WantGet(t, 200)
		synctest.Wait()
		if got := r.adopted.Load(); got != before {
			t.Errorf("%d adopted, want %d", got, before)
		}
		step.Written.Lift()
		time.Sleep(5 * time.Second)
		r.WantGet(t, 200)
		synctest.Wait()
		if c := r.Server.Counters(); c.Heartbeats != 1 || c.Unauthorized != 0 {
			t.Errorf("%+v", c)
		}
	})
}
