package behaviour_test

import (
	"context"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// Whoever leaves is free at once, and nobody else notices.
func TestWaitersLeave(t *testing.T) {
	const n = 10
	for _, tc := range []struct {
		name   string
		leaves func(i int) bool
	}{
		{"the leader", func(i int) bool { return i == 0 }},
		{"a follower", func(i int) bool { return i == 5 }},
		{"all but the last", func(i int) bool { return i < n-1 }},
		{"all", func(int) bool { return true }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := sessiontest.New(t, slow(), nil)
			old := r.Login(t)
			r.Server.RevokeAccess("alice")
			began := time.Now()
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if tc.leaves(i) {
						time.AfterFunc(time.Second, cancel)
					}
					status, err := r.Get(ctx)
					switch took := time.Since(began); {
					case !tc.leaves(i):
						if status != 200 || err != nil {
							t.Errorf("a request that stayed: status %d, error %v", status, err)
						}
					case took != time.Second:
						t.Errorf("a request that left was kept for %v", took)
					default:
						sessiontest.WantErr(t, "a request that left", err, context.Canceled)
					}
				})
				synctest.Wait() // the first is the leader
			}
			wg.Wait()
			time.Sleep(2 * time.Second)
			now, err := r.Session.Peek(t.Context())
			if err != nil || now.RefreshToken == old.RefreshToken {
				t.Errorf("token %v, error %v: the result of the flight was lost", now, err)
			}
			r.WantGet(t, 200)
			r.WantRefreshes(t, 1)
		})
	}
}

// The flight's place is not free because its first waiter left.
func TestWaitersJoinAfterTheFirstLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, slow(), nil)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			_, err := r.Get(ctx)
			cancel()
			sessiontest.WantErr(t, "GET", err, context.DeadlineExceeded)
		}
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

func TestWaitersShortDeadline(t *testing.T) {
	for _, tc := range []struct {
		name string
		call func(*sessiontest.Rig, context.Context) error
	}{
		{"request", func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Get(ctx); return err }},
		{"Token", func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Session.Token(ctx); return err }},
		{"Refresh", func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Session.Refresh(ctx); return err }},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			kept := new(store.Memory)
			r := sessiontest.New(t, slow(), sessiontest.Kept(kept))
			old := r.Login(t)
			time.Sleep(20 * time.Minute) // it has expired
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			began := time.Now()
			sessiontest.WantErr(t, tc.name, tc.call(r, ctx), context.DeadlineExceeded)
			if took := time.Since(began); took != 10*time.Millisecond {
				t.Errorf("free after %v, want 10ms", took)
			}
			time.Sleep(3 * time.Second)
			now, err := r.Session.Peek(t.Context())
			if err != nil || now.AccessToken == old.AccessToken {
				t.Errorf("token %v, error %v: the refresh was not adopted", now, err)
			}
			if rec, err := kept.Load(t.Context(), "alice"); err != nil || rec.Token.AccessToken != now.AccessToken {
				t.Errorf("record %v, error %v: the refresh was not saved", rec.Token, err)
			}
			r.WantGet(t, 200)
			r.WantRefreshes(t, 1)
		})
	}
}

// What a caller put into its context is no business of everybody's refresh.
func TestWaitersKeepTheirContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		var hosts atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn: func(string) { hosts.Add(1) },
		})
		ctx = context.WithValue(ctx, key{}, "alice's")
		var seen []any
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
			next := srv.OAuth2Refresher()
			c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				seen = append(seen, ctx.Value(key{}))
				return next.Refresh(ctx, old)
			})
		})
		r.Login(t)
		r.Server.RevokeAccess("alice")
		if status, err := r.Get(ctx); status != 200 || err != nil {
			t.Fatalf("status %d, error %v", status, err)
		}
		if got := hosts.Load(); got != 2 {
			t.Errorf("the caller's trace saw %d requests, want its own 2", got)
		}
		if len(seen) != 1 || seen[0] != nil {
			t.Errorf("the Refresher's context had %v of the caller's", seen)
		}
		r.WantRefreshes(t, 1)
	})
}
