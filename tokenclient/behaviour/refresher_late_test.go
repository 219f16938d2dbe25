package behaviour_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A Refresher that ignores its context and brings the pair late: those who waited
// got an error soon after RefreshTimeout, and the pair is saved and used.
func TestRefresherLate(t *testing.T) {
	for _, late := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 30 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				r := misusedRig(t, keep, func(r *sessiontest.Rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					time.Sleep(refreshTimeout + late)
					return r.Server.OAuth2Refresher().Refresh(context.WithoutCancel(ctx), old)
				})
				began := time.Now()
				status, err := r.Get(t.Context())
				if took := time.Since(began); took > refreshTimeout+time.Second {
					t.Errorf("it took %v", took)
				}
				if late < 500*time.Millisecond { // the grace
					if err != nil || status != 200 {
						t.Errorf("status %d, error %v", status, err)
					}
				} else {
					sessiontest.WantTransient(t, "GET", err)
				}
				time.Sleep(late + time.Second)
				r.WantGet(t, 200)
				r.WantRefreshes(t, 1)
			})
		})
	}
}

// Close waits for a pair that comes late, and saves it.
func TestRefresherLateAndClose(t *testing.T) {
	for name, at := range map[string]time.Duration{
		"Close before it is late": time.Second,
		"Close while it is late":  refreshTimeout + 5*time.Second,
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			kept := new(store.Memory)
			var made *tokenclient.Token
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
				c.Store, c.Key, c.RefreshTimeout = kept, "alice", refreshTimeout
				c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					var err error
					made, err = srv.OAuth2Refresher().Refresh(context.WithoutCancel(ctx), old)
					time.Sleep(refreshTimeout + 10*time.Second)
					return made, err
				})
			})
			r.Login(t)
			r.Server.RevokeAccess("alice")
			go func() { _, _ = r.Get(t.Context()) }()
			time.Sleep(at)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := r.Session.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
			rec, err := kept.Load(t.Context(), "alice")
			if err != nil || rec.Token.RefreshToken != made.RefreshToken {
				t.Errorf("record %v, error %v; want the pair that came late: the next process has to log in", rec.Token, err)
			}
			time.Sleep(time.Minute)
		})
	}
}
