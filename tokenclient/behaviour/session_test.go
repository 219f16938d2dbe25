package behaviour_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestSessionRefreshesExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Login(t)
		for range 5 {
			r.WantGet(t, 200)
			time.Sleep(20 * time.Minute)
		}
		r.WantGet(t, 200)
		r.WantRefreshes(t, 5)
		if c := r.Server.Counters(); c.Unauthorized != 0 {
			t.Errorf("%d requests were refused, want none", c.Unauthorized)
		}
	})
}

func TestSessionRefreshesEarlyInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 2 * time.Second}, nil)
		r.Login(t)
		time.Sleep(14 * time.Minute) // soft window: 3 minutes, a quarter less at most
		began := time.Now()
		r.WantGet(t, 200)
		if took := time.Since(began); took != 0 {
			t.Errorf("a request waited %v for an early refresh", took)
		}
		time.Sleep(3 * time.Second)
		r.WantRefreshes(t, 1)
	})
}

func TestSessionRecoversFromRevokedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Login(t)
		r.WantGet(t, 200)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

func TestSessionStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: time.Second}, nil)
		r.Login(t)
		r.Server.RevokeAccess("alice")
		r.WantGets(t, 200, 200)
		r.WantRefreshes(t, 1)
	})
}

func TestSessionEndsWhenRefreshTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []error
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Hooks = &tokenclient.Hooks{SessionEnded: func(err error) { ended = append(ended, err) }}
		})
		r.Login(t)
		r.Server.RevokeAll("alice")
		for range 3 {
			_, err := r.Get(t.Context())
			if !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Fatalf("error %v, want ErrLoginRequired", err)
			}
			var te *tokenclient.TokenError
			if !errors.As(err, &te) || te.Code != "invalid_grant" {
				t.Errorf("error %v, want a TokenError with the server's code", err)
			}
			time.Sleep(time.Minute)
		}
		r.WantRefreshes(t, 1)
		synctest.Wait()
		if len(ended) != 1 {
			t.Errorf("SessionEnded called %d times, want once", len(ended))
		}
		r.Login(t)
		r.WantGet(t, 200)
	})
}

func TestSessionBeforeLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		if _, err := r.Get(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if c := r.Server.Counters(); c.Requests != 0 {
			t.Error("a request without a token was sent")
		}
		if _, err := r.Session.Peek(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("Peek: %v, want ErrLoginRequired", err)
		}
	})
}

func TestSessionLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		token := r.Login(t)
		r.Logout(t)
		if _, err := r.Get(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if _, err := r.Server.OAuth2Refresher().Refresh(t.Context(), token); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("refresh after logout: %v, want the token revoked", err)
		}
		r.Login(t)
		r.WantGet(t, 200)
	})
}

func TestTransportReplaysBodies(t *testing.T) {
	payload := strings.Repeat("0123456789", 5000)
	for _, tc := range []struct {
		name string
		body func() io.Reader
	}{
		{"with GetBody", func() io.Reader { return strings.NewReader(payload) }},
		{"kept copy", func() io.Reader { return io.MultiReader(strings.NewReader(payload)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := sessiontest.New(t, nil, nil)
			r.Login(t)
			r.Server.RevokeAccess("alice")
			resp, err := r.Client.Post(r.Server.URL+"/api/?echo=1", "text/plain", tc.body())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != payload {
				t.Fatalf("status %d, %d bytes, error %v; want the payload", resp.StatusCode, len(got), err)
			}
			r.WantRefreshes(t, 1)
		})
	}
}
