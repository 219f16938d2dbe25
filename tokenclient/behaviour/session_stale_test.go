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

// TestStoredTokenHasExpired: one process refreshed and was idle since, as was the other. What
// the other finds in the store has expired too; it is not sent, but exchanged.
func TestStoredTokenHasExpired(t *testing.T) {
	get := func(ctx context.Context, r *sessiontest.Rig) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, sessiontest.FakeAPI, nil)
		if err != nil {
			return err
		}
		resp, err := r.Client.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	for _, c := range []struct {
		name string
		use  func(context.Context, *sessiontest.Rig) error
	}{
		{"request", get},
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
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refreshes := 0
				expiries := map[string]time.Time{}
				refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					refreshes++
					token := sessiontest.Pair(sessiontest.Access(refreshes), fmt.Sprint("refresh-", refreshes), time.Minute)
					expiries["Bearer "+token.AccessToken] = token.Expiry
					return token, nil
				}
				api := func(req *http.Request) (*http.Response, error) {
					if !expiries[req.Header.Get("Authorization")].After(time.Now()) {
						return nil, errors.New("sent with a token that has expired")
					}
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
				}
				var memory store.Memory
				kept := func(c *tokenclient.Config) { c.Store, c.Key = &memory, "alice" }
				one := sessiontest.NewFake(t, refresh, api, kept)
				other := sessiontest.NewFake(t, refresh, api, kept)
				one.Give(t, sessiontest.Pair(sessiontest.Access(0), "refresh-0", time.Minute))
				if _, err := other.Session.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if err := get(t.Context(), one); err != nil || refreshes != 1 {
					t.Fatalf("%d refreshes, %v", refreshes, err)
				}
				time.Sleep(2 * time.Minute)
				if err := c.use(t.Context(), other); err != nil || refreshes != 2 {
					t.Errorf("%d refreshes, %v", refreshes, err)
				}
			})
		})
	}
}
