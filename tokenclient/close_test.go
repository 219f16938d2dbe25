package tokenclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// wantAllClosed checks that every call of s says that it is closed.
func wantAllClosed(t *testing.T, r *rig) {
	t.Helper()
	s, ctx := r.session, t.Context()
	for name, call := range map[string]func() error{
		"Token":           func() error { _, err := s.Token(ctx); return err },
		"Peek":            func() error { _, err := s.Peek(ctx); return err },
		"Refresh":         func() error { _, err := s.Refresh(ctx); return err },
		"RefreshRejected": func() error { _, err := s.RefreshRejected(ctx, pair("a", "r", 0)); return err },
		"SetToken":        func() error { return s.SetToken(ctx, pair("a", "r", 0)) },
		"Logout":          func() error { return s.Logout(ctx) },
		"KeepFresh":       func() error { return s.KeepFresh(ctx) },
		"GET":             func() error { _, err := r.get(ctx); return err },
	} {
		wantErr(t, name+" after Close", call(), tokenclient.ErrClosed)
	}
}

func TestCloseWaitsForRefreshAndSave(t *testing.T) {
	for _, tc := range []struct {
		name  string
		start func(r *rig)
	}{
		{"a request waits", func(r *rig) { r.srv.RevokeAccess("alice"); _, _ = r.get(context.Background()) }},
		{"early refresh", func(r *rig) { time.Sleep(14 * time.Minute); _, _ = r.get(context.Background()) }},
		{"nobody waits any more", func(r *rig) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, _ = r.session.Refresh(ctx)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept := new(store.Memory)
				r := newRig(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, func(c *tokenclient.Config, _ *tokentest.Server) {
					c.Store, c.Key = kept, "alice"
				})
				old := r.login(t)
				go tc.start(r)
				synctest.Wait()
				for r.srv.Counters().Refreshes == 0 {
					time.Sleep(time.Second)
				}
				var wg sync.WaitGroup
				for range 3 { // they all wait
					wg.Go(func() { closeSession(t, r.session) })
				}
				synctest.Wait()
				wantAllClosed(t, r)
				wg.Wait()
				rec, err := kept.Load(t.Context(), "alice")
				if err != nil || rec.Token.RefreshToken == old.RefreshToken {
					t.Errorf("record %v, error %v: Close did not wait for the save", rec.Token, err)
				}
				closeSession(t, r.session)
				wantAllClosed(t, r)
				r.wantRefreshes(t, 1)
				time.Sleep(time.Minute)
			})
		})
	}
}

// A caller who waits for a refresh when the session is closed is told so.
func TestCloseAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, nil)
		r.login(t)
		r.srv.RevokeAccess("alice")
		errs := make(chan error)
		for range 5 {
			go func() { _, err := r.get(t.Context()); errs <- err }()
		}
		time.Sleep(time.Second)
		began := time.Now()
		go closeSession(t, r.session)
		for range 5 {
			wantErr(t, "GET", <-errs, tokenclient.ErrClosed)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited %v", took)
		}
	})
}

func TestCloseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, nil)
		r.login(t)
		go func() { _, _ = r.session.Refresh(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		wantErr(t, "Close", r.session.Close(ctx), context.DeadlineExceeded)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		wantAllClosed(t, r)
		closeSession(t, r.session) // and now it waits
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the second Close ended after %v", took)
		}
	})
}

// Another process that holds the key is not waited for.
func TestCloseEndsTheWaitForAnotherHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := new(store.Memory)
		shared := func(c *tokenclient.Config, _ *tokentest.Server) { c.Store, c.Key = kept, "alice" }
		r := newRig(t, &tokentest.Options{InMemory: true, Latency: 15 * time.Second}, shared)
		r.login(t)
		other := newSession(t, r, shared)
		r.srv.RevokeAccess("alice")
		go func() { _, _ = r.get(context.Background()) }()
		time.Sleep(time.Second)
		waits := make(chan error)
		go func() { _, err := other.Refresh(t.Context()); waits <- err }()
		time.Sleep(time.Second)
		began := time.Now()
		go func() { wantErr(t, "Refresh", <-waits, tokenclient.ErrClosed) }()
		closeSession(t, other)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Close waited %v for another holder", took)
		}
		time.Sleep(time.Minute)
		r.wantGet(t, 200)
		r.wantRefreshes(t, 1)
	})
}

// newSession is another session for r's server, without a token of its own.
func newSession(t *testing.T, r *rig, change func(*tokenclient.Config, *tokentest.Server)) *tokenclient.Session {
	t.Helper()
	c := tokenclient.Config{Refresher: r.srv.OAuth2Refresher(), Origins: []string{r.srv.URL}}
	if change != nil {
		change(&c, r.srv)
	}
	s, err := tokenclient.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

// A 401 for a request that was on its way is handed back as it came.
func TestCloseHandsLateRejectionsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true}, nil)
		r.login(t)
		r.srv.RevokeAccess("alice")
		release := r.srv.Hold()
		done := make(chan string)
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", r.srv.URL+"/api/", nil)
			resp, err := r.client.Do(req)
			if err != nil {
				done <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			done <- fmt.Sprint(resp.StatusCode, err, len(body) > 0)
		}()
		synctest.Wait()
		closeSession(t, r.session)
		release()
		if got := <-done; got != "401 <nil> true" {
			t.Errorf("%s, want the 401 with its body", got)
		}
		r.wantRefreshes(t, 0)
	})
}

// Nobody needs Close to be free of goroutines that nobody waits for: one call of
// it from each side of a refresh, at any time, ends.
func TestCloseAtAnyTime(t *testing.T) {
	for at := range 25 {
		synctest.Test(t, func(t *testing.T) {
			kept := new(store.Memory)
			shared := func(c *tokenclient.Config, _ *tokentest.Server) { c.Store, c.Key = kept, "alice" }
			r := newRig(t, &tokentest.Options{InMemory: true, Latency: 100 * time.Millisecond}, shared)
			r.login(t)
			r.srv.RevokeAccess("alice")
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
					_, _ = r.get(t.Context())
				})
			}
			time.Sleep(time.Duration(at) * 10 * time.Millisecond)
			closeSession(t, r.session)
			wg.Wait()
			// The next process goes on where this one ended.
			next := newSession(t, r, shared)
			r.client = next.Wrap(r.srv.Client())
			r.wantGet(t, 200)
			if c := r.srv.Counters(); c.Refreshes > 2 || c.Reuses != 0 {
				t.Errorf("closed after %d ms: %+v", at*10, c)
			}
		})
	}
}

// TestCloseLetsAnEarlyRefreshBegin: a program that makes one request and ends, over
// and over, would otherwise never refresh before the token has expired.
func TestCloseLetsAnEarlyRefreshBegin(t *testing.T) {
	for range 20 { // the request and Close race with the refresh
		synctest.Test(t, func(t *testing.T) {
			kept := new(store.Memory)
			r := newRig(t, &tokentest.Options{InMemory: true, Latency: time.Second}, func(c *tokenclient.Config, _ *tokentest.Server) {
				c.Store, c.Key = kept, "alice"
			})
			r.login(t)
			time.Sleep(14 * time.Minute)
			r.wantGet(t, 200)
			if err := r.session.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.wantRefreshes(t, 1)
			if stored, err := kept.Load(t.Context(), "alice"); err != nil || stored.Number != 2 {
				t.Errorf("stored number %d, error %v; want 2", stored.Number, err)
			}
		})
	}
}
