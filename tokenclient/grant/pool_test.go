package grant_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

// exchangePool is a Pool at s in which "for:alice" exchanges the token of "alice".
func exchangePool(t *testing.T, s *server) *tokenclient.Pool {
	t.Helper()
	var pool *tokenclient.Pool
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: new(store.Memory),
		Config: func(_ context.Context, key string) (tokenclient.Config, error) {
			r := &tokenclient.OAuth2Refresher{TokenURL: s.URL + "/token", ClientAuth: clientauth.NoClient()}
			if user, is := strings.CutPrefix(key, "for:"); is {
				r.Grant = grant.TokenExchange{Subject: func(ctx context.Context) (string, error) {
					session, err := pool.Session(ctx, user)
					if err != nil {
						return "", err
					}
					token, err := session.Token(ctx)
					if err != nil {
						return "", err
					}
					return token.AccessToken, nil
				}}
			}
			return tokenclient.Config{Refresher: r, Origins: []string{s.URL}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return pool
}

// TestTokenExchangeInAPool: more exchanges than a token endpoint is asked for at a time,
// each of which waits for a refresh at the same endpoint. None waits for a turn that only
// it could free.
func TestTokenExchangeInAPool(t *testing.T) {
	const users = 50
	s := newServer(t)
	s.answer = func(w http.ResponseWriter, form url.Values, _ int) bool {
		if form.Get("grant_type") == "refresh_token" {
			fmt.Fprintf(w, `{"access_token":"of-%s","refresh_token":"next","expires_in":900}`, form.Get("refresh_token"))
		} else {
			fmt.Fprintf(w, `{"access_token":"for-%s","expires_in":900}`, form.Get("subject_token"))
		}
		return false
	}
	pool := exchangePool(t, s)
	for i := range users {
		session, err := pool.Session(t.Context(), fmt.Sprint("user-", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := session.SetToken(t.Context(), &tokenclient.Token{RefreshToken: fmt.Sprint("refresh-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			session, err := pool.Session(t.Context(), fmt.Sprint("for:user-", i))
			if err != nil {
				t.Error(err)
				return
			}
			token, err := session.Token(t.Context())
			if err != nil {
				t.Error(err)
			} else if want := fmt.Sprint("for-of-refresh-", i); token.AccessToken != want {
				t.Errorf("token %q, want %q", token.AccessToken, want)
			}
		})
	}
	wg.Wait()
	if n := len(s.got()); n != 2*users {
		t.Errorf("%d requests, want %d", n, 2*users)
	}
}
