package behaviour_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// wantAllClosed checks that every call of s says that it is closed.
func wantAllClosed(t *testing.T, r *sessiontest.Rig) {
	t.Helper()
	s, ctx := r.Session, t.Context()
	for name, call := range map[string]func() error{
		"Token":           func() error { _, err := s.Token(ctx); return err },
		"Peek":            func() error { _, err := s.Peek(ctx); return err },
		"Refresh":         func() error { _, err := s.Refresh(ctx); return err },
		"RefreshRejected": func() error { _, err := s.RefreshRejected(ctx, sessiontest.Pair("a", "r", 0)); return err },
		"SetToken":        func() error { return s.SetToken(ctx, sessiontest.Pair("a", "r", 0)) },
		"Logout":          func() error { return s.Logout(ctx) },
		"KeepFresh":       func() error { return s.KeepFresh(ctx) },
		"GET":             func() error { _, err := r.Get(ctx); return err },
	} {
		sessiontest.WantErr(t, name+" after Close", call(), tokenclient.ErrClosed)
	}
}

func TestCloseWaitsForRefreshAndSave(t *testing.T) {
	for _, tc := range []struct {
		name  string
		start func(r *sessiontest.Rig)
	}{
		{"a request waits", func(r *sessiontest.Rig) { r.Server.RevokeAccess("alice"); _, _ = r.Get(context.Background()) }},
		{"early refresh", func(r *sessiontest.Rig) { time.Sleep(14 * time.Minute); _, _ = r.Get(context.Background()) }},
		{"nobody waits any more", func(r *sessiontest.Rig) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, _ = r.Session.Refresh(ctx)
		}},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			kept := new(store.Memory)
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, sessiontest.Kept(kept))
			old := r.Login(t)
			go tc.start(r)
			synctest.Wait()
			for r.Server.Counters().Refreshes == 0 {
				time.Sleep(time.Second)
			}
			var wg sync.WaitGroup
			for range 3 { // they all wait
				wg.Go(func() { sessiontest.Close(t, r.Session) })
			}
			synctest.Wait()
			wantAllClosed(t, r)
			wg.Wait()
			rec, err := kept.Load(t.Context(), "alice")
			if err != nil || rec.Token.RefreshToken == old.RefreshToken {
				t.Errorf("record %v, error %v: Close did not wait for the save", rec.Token, err)
			}
			sessiontest.Close(t, r.Session)
			wantAllClosed(t, r)
			r.WantRefreshes(t, 1)
			time.Sleep(time.Minute)
		})
	}
}

// A caller who waits for a refresh when the session is closed is told so.
func TestCloseAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, nil)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		errs := make(chan error)
		for range 5 {
			go func() { _, err := r.Get(t.Context()); errs <- err }()
		}
		time.Sleep(time.Second)
		began := time.Now()
		go sessiontest.Close(t, r.Session)
		for range 5 {
			sessiontest.WantErr(t, "GET", <-errs, tokenclient.ErrClosed)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited %v", took)
		}
	})
}

func TestCloseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, nil)
		r.Login(t)
		go func() { _, _ = r.Session.Refresh(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		sessiontest.WantErr(t, "Close", r.Session.Close(ctx), context.DeadlineExceeded)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		wantAllClosed(t, r)
		sessiontest.Close(t, r.Session) // and now it waits
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the second Close ended after %v", took)
		}
	})
}

// Another process that holds the key is not waited for.
func TestCloseEndsTheWaitForAnotherHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := new(store.Memory)
		shared := sessiontest.Kept(kept)
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 15 * time.Second}, shared)
		r.Login(t)
		other := r.Another(t, shared).Session
		r.Server.RevokeAccess("alice")
		go func() { _, _ = r.Get(context.Background()) }()
		time.Sleep(time.Second)
		waits := make(chan error)
		go func() { _, err := other.Refresh(t.Context()); waits <- err }()
		time.Sleep(time.Second)
		began := time.Now()
		go func() { sessiontest.WantErr(t, "Refresh", <-waits, tokenclient.ErrClosed) }()
		sessiontest.Close(t, other)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Close waited %v for another holder", took)
		}
		time.Sleep(time.Minute)
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

// A 401 for a request that was on its way is handed back as it came.
func TestCloseHandsLateRejectionsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		release := r.Server.Hold()
		done := make(chan string)
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", r.Server.URL+"/api/", nil)
			resp, err := r.Client.Do(req)
			if err != nil {
				done <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			done <- fmt.Sprint(resp.StatusCode, err, len(body) > 0)
		}()
		synctest.Wait()
		sessiontest.Close(t, r.Session)
		release()
		if got := <-done; got != "401 <nil> true" {
			t.Errorf("%s, want the 401 with its body", got)
		}
		r.WantRefreshes(t, 0)
	})
}

// Nobody needs Close to be free of goroutines that nobody waits for: one call of
// it from each side of a refresh, at any time, ends.
func TestCloseAtAnyTime(t *testing.T) {
	for at := range 25 {
		synctest.Test(t, func(t *testing.T) {
			kept := new(store.Memory)
			shared := sessiontest.Kept(kept)
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 100 * time.Millisecond}, shared)
			r.Login(t)
			r.Server.RevokeAccess("alice")
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
					_, _ = r.Get(t.Context())
				})
			}
			time.Sleep(time.Duration(at) * 10 * time.Millisecond)
			sessiontest.Close(t, r.Session)
			wg.Wait()
			// The next process goes on where this one ended.
			r.Another(t, shared).WantGet(t, 200)
			if c := r.Server.Counters(); c.Refreshes > 2 || c.Reuses != 0 {
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
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: time.Second}, sessiontest.Kept(kept))
			r.Login(t)
			time.Sleep(14 * time.Minute)
			r.WantGet(t, 200)
			if err := r.Session.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.WantRefreshes(t, 1)
			if stored, err := kept.Load(t.Context(), "alice"); err != nil || stored.Number != 2 {
				t.Errorf("stored number %d, error %v; want 2", stored.Number, err)
			}
		})
	}
}
