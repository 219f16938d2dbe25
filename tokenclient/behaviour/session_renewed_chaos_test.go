package behaviour_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
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
		a := sessiontest.New(t, &tokentest.Options{InMemory: true, SlidingHeader: true, Latency: 200 * time.Millisecond}, config)
		b := a.Another(t, config)
		a.Login(t)
		var wg sync.WaitGroup
		for _, r := range []*sessiontest.Rig{a, b} {
			for i := range 6 {
				random := rand.New(rand.NewPCG(7, uint64(i)))
				wg.Go(func() {
					for range sessiontest.Many(1000) {
						switch random.IntN(20) {
						case 0:
							if _, err := r.Session.Refresh(t.Context()); err != nil {
								t.Errorf("Refresh: %v", err)
							}
						case 1:
							a.Server.RevokeAccess("alice")
						case 2:
							time.Sleep(time.Duration(random.IntN(20)) * time.Minute)
						default:
							if _, err := r.Get(t.Context()); err != nil {
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
		c := a.Server.Counters()
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
		for _, r := range []*sessiontest.Rig{a, b} {
			if _, err := r.Session.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			r.WantGet(t, 200)
		}
	})
}
