package behaviour_test

import (
	"context"
	"fmt"
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

// TestUsersStayApart: a thousand users at once, a Session each over one store, all
// of whose tokens expire or are revoked on the way. Each answer is its own user's.
func TestUsersStayApart(t *testing.T) {
	n := 1000
	if testing.Short() || sessiontest.Race {
		n = 100
	}
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
		shared := new(store.Memory)
		base := srv.Client() // and one connection pool
		var wg sync.WaitGroup
		for i := range n {
			user := fmt.Sprintf("user-%d", i)
			wg.Go(func() {
				// Two sessions of one user share the token, as two processes do.
				var clients [2]*http.Client
				for j := range clients {
					s, err := tokenclient.New(tokenclient.Config{
						Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}, Store: shared, Key: user,
					})
					if err != nil {
						t.Error(err)
						return
					}
					defer func() {
						if err := s.Close(context.Background()); err != nil {
							t.Error(err)
						}
					}()
					clients[j] = s.Wrap(base)
					if j == 0 {
						if err := s.SetToken(t.Context(), srv.Issue(user)); err != nil {
							t.Error(err)
							return
						}
					}
				}
				for round := range 4 {
					if round == 1 {
						srv.RevokeAccess(user)
					}
					var both sync.WaitGroup
					for _, client := range clients {
						both.Go(func() {
							if got, err := sessiontest.Subject(t.Context(), client, srv.URL); err != nil || got != user {
								t.Errorf("%s was answered as %q, error %v", user, got, err)
							}
						})
					}
					both.Wait()
					time.Sleep(10 * time.Minute)
				}
			})
		}
		wg.Wait()
		c := srv.Counters()
		if c.Reuses != 0 {
			t.Errorf("%d reuses of a spent token", c.Reuses)
		}
		// One for each user because of the revocation, and one because of the expiry.
		if c.Refreshes != 2*n {
			t.Errorf("%d refreshes for %d users", c.Refreshes, n)
		}
	})
}
