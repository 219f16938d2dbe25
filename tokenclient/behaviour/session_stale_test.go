package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// waysToAToken are those that must not lead to a token that has expired.
var waysToAToken = []struct {
	name string
	use  func(context.Context, *sessiontest.Rig) error
}{
	{"request", getFake},
	{"Token", func(ctx context.Context, r *sessiontest.Rig) error {
		token, err := r.Session.Token(ctx)
		if err == nil && !token.Expiry.After(time.Now()) {
			err = fmt.Errorf("%s has expired", token.AccessToken)
		}
		return err
	}},
	{"Refresh", func(ctx context.Context, r *sessiontest.Rig) error {
		token, err := r.Session.Refresh(ctx)
		if err == nil && !token.Expiry.After(time.Now()) {
			err = fmt.Errorf("%s has expired", token.AccessToken)
		}
		return err
	}},
	{"Do", func(ctx context.Context, r *sessiontest.Rig) error {
		return r.Session.Do(ctx, func(_ context.Context, token *tokenclient.Token) error {
			if !token.Expiry.After(time.Now()) {
				return fmt.Errorf("%s has expired", token.AccessToken)
			}
			return nil
		})
	}},
}

func getFake(ctx context.Context, r *sessiontest.Rig) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, sessiontest.FakeAPI, nil)
	if err != nil {
		return err
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return errors.Join(err, resp.Body.Close())
}

// shortLived issues tokens that live for a minute, and has an API that knows when it gets one
// that has expired.
type shortLived struct {
	refreshes int
	expiries  map[string]time.Time
	revoked   string // the API refuses that
}

func (s *shortLived) refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	s.refreshes++
	token := sessiontest.Pair(sessiontest.Access(s.refreshes), fmt.Sprint("refresh-", s.refreshes), time.Minute)
	s.expiries["Bearer "+token.AccessToken] = token.Expiry
	return token, nil
}

func (s *shortLived) api(req *http.Request) (*http.Response, error) {
	status, carried := http.StatusOK, req.Header.Get("Authorization")
	switch {
	case carried == "Bearer "+s.revoked:
		status = http.StatusUnauthorized
	case !s.expiries[carried].After(time.Now()):
		return nil, errors.New("sent with a token that has expired")
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// TestStoredTokenHasExpired: one process refreshed and was idle since, as was the other. What
// the other finds in the store has expired too; it is not sent, but exchanged.
func TestStoredTokenHasExpired(t *testing.T) {
	for _, c := range waysToAToken {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &shortLived{expiries: map[string]time.Time{}}
				var memory store.Memory
				kept := func(c *tokenclient.Config) { c.Store, c.Key = &memory, "alice" }
				one := sessiontest.NewFake(t, server.refresh, server.api, kept)
				other := sessiontest.NewFake(t, server.refresh, server.api, kept)
				one.Give(t, sessiontest.Pair(sessiontest.Access(0), "refresh-0", time.Minute))
				if _, err := other.Session.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if err := getFake(t.Context(), one); err != nil || server.refreshes != 1 {
					t.Fatalf("%d refreshes, %v", server.refreshes, err)
				}
				time.Sleep(2 * time.Minute)
				if err := c.use(t.Context(), other); err != nil || server.refreshes != 2 {
					t.Errorf("%d refreshes, %v", server.refreshes, err)
				}
			})
		})
	}
}

// TestTokenExpiresWhileSaved: the machine sleeps between the answer with a new token and the end
// of its save, for longer than the token lives. Who waits for it gets another one, and a request
// that was refused before does not come back with a 401, as if the user were logged out. If every
// save takes so long one more refresh is made, and no others after it.
func TestTokenExpiresWhileSaved(t *testing.T) {
	const refused, elsewhere = "refused request", "after one that another process stored"
	for _, c := range append(waysToAToken, []struct {
		name string
		use  func(context.Context, *sessiontest.Rig) error
	}{{refused, getFake}, {elsewhere, getFake}}...) {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &shortLived{expiries: map[string]time.Time{}}
				saves := &sessiontest.StepStore{Store: new(store.Memory), AfterFn: sessiontest.NewBarrier()}
				r := sessiontest.NewFake(t, server.refresh, server.api, func(c *tokenclient.Config) { c.Store, c.Key = saves, "alice" })
				r.Give(t, sessiontest.Pair(sessiontest.Access(0), "refresh-0", time.Minute))
				want := 2
				switch c.name {
				case refused:
					server.revoked = sessiontest.Access(0)
				case elsewhere:
					want++
					other := sessiontest.NewFake(t, server.refresh, server.api, func(c *tokenclient.Config) { c.Store, c.Key = saves.Store, "alice" })
					if _, err := other.Session.Refresh(t.Context()); err != nil {
						t.Fatal(err)
					}
					fallthrough
				default:
					time.Sleep(2 * time.Minute)
				}
				ended := make(chan error, 1)
				go func() { ended <- c.use(t.Context(), r) }()
				<-saves.AfterFn.Reached
				time.Sleep(2 * time.Minute)
				saves.AfterFn.Lift()
				if err := <-ended; err != nil || server.refreshes != want {
					t.Errorf("%d refreshes, %v", server.refreshes, err)
				}
			})
		})
	}
	t.Run("every time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := &shortLived{expiries: map[string]time.Time{}}
			r := sessiontest.NewFake(t, server.refresh, server.api, func(c *tokenclient.Config) { c.Store, c.Key = lateStore{new(store.Memory)}, "alice" })
			r.Give(t, sessiontest.Pair(sessiontest.Access(0), "refresh-0", time.Minute))
			if token, err := r.Session.Refresh(t.Context()); err != nil || token.AccessToken != sessiontest.Access(2) || server.refreshes != 2 {
				t.Errorf("%d refreshes, %v", server.refreshes, err)
			}
		})
	})
}

// A lateStore takes longer to store a token than that lives.
type lateStore struct{ *store.Memory }

func (s lateStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	r, err := s.Memory.Refresh(ctx, key, seen, timeout, fn)
	time.Sleep(2 * time.Minute)
	return r, err
}
