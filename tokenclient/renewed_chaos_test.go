package tokenclient_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestRenewedAmongRefreshes: two processes refresh rotating refresh tokens and are
// sent renewed access tokens, all at the same time, over a slow store. No refresh
// token is presented twice and no request fails.
func TestRenewedAmongRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &writeStore{slow: 300 * time.Millisecond}
		config := func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Renewed = tokenclient.RenewedHeader("Authorization")
			c.Store, c.Key = kept, "alice"
		}
		a := newRig(t, &tokentest.Options{InMemory: true, SlidingHeader: true, Latency: 200 * time.Millisecond}, config)
		s := newSession(t, a, config)
		b := &rig{a.srv, s, s.Wrap(a.srv.Client())}
		a.login(t)
		var wg sync.WaitGroup
		for _, r := range []*rig{a, b} {
			for i := range 6 {
				random := rand.New(rand.NewPCG(7, uint64(i)))
				wg.Go(func() {
					for range many(1000) {
						switch random.IntN(20) {
						case 0:
							if _, err := r.session.Refresh(t.Context()); err != nil {
								t.Errorf("Refresh: %v", err)
							}
						case 1:
							a.srv.RevokeAccess("alice")
						case 2:
							time.Sleep(time.Duration(random.IntN(20)) * time.Minute)
						default:
							if _, err := r.get(t.Context()); err != nil {
								t.Errorf("GET: %v", err)
							}
						}
						time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
					}
				})
			}
		}
		wg.Wait()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		c := a.srv.Counters()
		if c.Reuses != 0 || c.Refreshes == 0 || c.Renewals == 0 {
			t.Errorf("%+v", c)
		}
		rec, err := kept.Load(t.Context(), "alice")
		if err != nil || rec.Announced != 0 {
			t.Errorf("record announced %d times, error %v", rec.Announced, err)
		}
		if writes := int(kept.writes.Load()); writes > c.Renewals+c.Refreshes {
			t.Errorf("%d writes, %+v", writes, c)
		}
		// Either process goes on from what the other left.
		for _, r := range []*rig{a, b} {
			if _, err := r.session.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			r.wantGet(t, 200)
		}
	})
}
