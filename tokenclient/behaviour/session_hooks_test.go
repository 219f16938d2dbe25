package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestHooksStory: what a program is told, in order, from login to the end.
func TestHooksStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newHookRig(t, tokentest.Options{Latency: time.Second}, nil)
		r.Login(t)
		r.WantGet(t, 200)
		l.want(t) // a login is the program's own doing

		r.Server.RevokeAccess("alice")
		release := r.Server.Hold() // so that all three are refused
		var all sync.WaitGroup
		all.Go(func() { r.WantGets(t, 3, 200) })
		synctest.Wait()
		release()
		all.Wait()
		again := "replayed GET " + r.Server.URL
		l.want(t, "refreshed", again, again, again)
		token, err := r.Session.Peek(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := tokenclient.RefreshInfo{Generation: 2, Duration: time.Second, Waiters: 3, Expiry: token.Expiry}
		if i := l.infos[0]; !i.Expiry.Equal(want.Expiry) || i.Generation != want.Generation || i.Duration != want.Duration || i.Waiters != want.Waiters || i.Key != "" {
			t.Errorf("info %+v, want %+v", i, want)
		}

		time.Sleep(16 * time.Minute)
		r.Server.FailRefresh(1, tokentest.Fault{Status: 429})
		if _, err := r.Get(t.Context()); err == nil {
			t.Error("no error")
		}
		l.want(t, "failed: status 429")
		if i := l.infos[1]; i.Generation != 2 || i.Waiters != 1 || i.Duration != time.Second {
			t.Errorf("info %+v", i)
		}
		time.Sleep(time.Minute)
		r.WantGet(t, 200)
		l.want(t, "refreshed")

		r.Server.RevokeAll("alice")
		for range 3 {
			_, _ = r.Get(t.Context())
		}
		l.want(t, "failed: login required", "ended: login required")
		r.Login(t)
		r.Logout(t)
		r.Logout(t)
		l.want(t, "ended: logged out")
	})
}

// TestHooksAdopted: two sessions share a store. One refreshes and the other is
// told that it took the token over.
func TestHooksAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(store.Memory)
		share := func(c *tokenclient.Config) { c.Store, c.Key = shared, "alice" }
		r, l := newHookRig(t, tokentest.Options{}, share)
		other, otherLog := newHookRig(t, tokentest.Options{}, func(c *tokenclient.Config) {
			share(c)
			c.Refresher, c.Origins = r.Server.OAuth2Refresher(), []string{r.Server.URL}
		})
		other.Server, other.Client = r.Server, other.Session.Wrap(r.Server.Client())
		r.Login(t)
		other.WantGet(t, 200)
		otherLog.want(t)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		other.WantGet(t, 200)
		l.want(t, "refreshed", "replayed GET "+r.Server.URL)
		otherLog.want(t, "adopted", "replayed GET "+r.Server.URL)
		if i := otherLog.infos[0]; i.Key != "alice" || i.Generation != 2 {
			t.Errorf("info %+v", i)
		}
		r.WantRefreshes(t, 1)
	})
}

// TestHooksMayCallTheSession: no lock is held, and none of these waits for ever.
func TestHooksMayCallTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newHookRig(t, tokentest.Options{}, nil)
		l.do = func(event string) {
			_, _ = r.Session.Peek(t.Context())
			_, _ = r.Session.Token(t.Context())
			if event == "refreshed" && len(l.events) == 1 {
				if _, err := r.Session.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh in a hook: %v", err)
				}
			}
			if _, err := r.Get(t.Context()); (err == nil) != (event != "ended: logged out") {
				t.Errorf("a request in hook %q: %v", event, err)
			}
			if event == "refreshed" && len(l.events) > 1 {
				if err := r.Session.Logout(t.Context()); err != nil {
					t.Errorf("Logout in a hook: %v", err)
				}
			}
		}
		r.Login(t)
		// The logout in the hook may come before this gets to know of its refresh.
		if _, err := r.Session.Refresh(t.Context()); err != nil && !errors.Is(err, tokenclient.ErrLoggedOut) {
			t.Fatal(err)
		}
		l.want(t, "refreshed", "refreshed", "ended: logged out")
	})
}

// TestHooksThatHang hold up nothing: requests, refreshes and Close go on. One that
// ends its goroutine does not take the later ones with it.
func TestHooksThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newHookRig(t, tokentest.Options{}, nil)
		release := make(chan struct{})
		l.do = func(event string) {
			if len(l.events) == 1 {
				<-release
			}
			runtime.Goexit()
		}
		r.Login(t)
		for range 3 {
			r.Server.RevokeAccess("alice")
			r.WantGet(t, 200)
			time.Sleep(time.Minute)
		}
		began := time.Now()
		if err := r.Session.Close(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("Close: %v after %v", err, time.Since(began))
		}
		synctest.Wait()
		if len(l.events) != 1 {
			t.Errorf("%q while a hook hangs", l.events)
		}
		close(release)
		again := "replayed GET " + r.Server.URL
		l.want(t, "refreshed", again, "refreshed", again, "refreshed", again)
	})
}

// TestHooksNone: nil hooks are skipped one by one.
func TestHooksNone(t *testing.T) {
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Hooks = new(tokenclient.Hooks) })
	base := sessiontest.NewBase(401, 200)
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, sessiontest.URL, nil)
	if resp, err := s.Transport(base).RoundTrip(req); err != nil || resp.StatusCode != 200 {
		t.Errorf("response %v, error %v", resp, err)
	}
	if err := s.Logout(t.Context()); err != nil {
		t.Error(err)
	}
}
