package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// rig is a session wired to a server of its own.
type rig struct {
	srv     *tokentest.Server
	session *tokenclient.Session
	client  *http.Client
}

// newRig starts a server and a session that has no token yet. A nil change leaves
// the Config as it is.
func newRig(t *testing.T, o *tokentest.Options, change func(*tokenclient.Config, *tokentest.Server)) *rig {
	t.Helper()
	srv := tokentest.NewServer(t, o)
	c := tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}}
	if change != nil {
		change(&c, srv)
	}
	s, err := tokenclient.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &rig{srv, s, s.Wrap(srv.Client())}
}

// login gives the session a token of alice's.
func (r *rig) login(t *testing.T) *tokenclient.Token {
	t.Helper()
	token := r.srv.Issue("alice")
	if err := r.session.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	return token
}

// get asks the API and returns the status; the body is read and closed.
func (r *rig) get(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.srv.URL+"/api/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func (r *rig) wantGet(t *testing.T, status int) {
	t.Helper()
	if got, err := r.get(t.Context()); err != nil || got != status {
		t.Fatalf("GET: status %d, error %v; want status %d", got, err, status)
	}
}

func (r *rig) wantRefreshes(t *testing.T, n int) {
	t.Helper()
	if got := r.srv.Counters().Refreshes; got != n {
		t.Errorf("%d refreshes, want %d", got, n)
	}
}

func TestSessionRefreshesExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true}, nil)
		r.login(t)
		for range 5 {
			r.wantGet(t, 200)
			time.Sleep(20 * time.Minute)
		}
		r.wantGet(t, 200)
		r.wantRefreshes(t, 5)
		if c := r.srv.Counters(); c.Unauthorized != 0 {
			t.Errorf("%d requests were refused, want none", c.Unauthorized)
		}
	})
}

func TestSessionRefreshesEarlyInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true, Latency: 2 * time.Second}, nil)
		r.login(t)
		time.Sleep(14 * time.Minute) // soft window: 3 minutes, a quarter less at most
		began := time.Now()
		r.wantGet(t, 200)
		if took := time.Since(began); took != 0 {
			t.Errorf("a request waited %v for an early refresh", took)
		}
		time.Sleep(3 * time.Second)
		r.wantRefreshes(t, 1)
	})
}

func TestSessionRecoversFromRevokedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true}, nil)
		r.login(t)
		r.wantGet(t, 200)
		r.srv.RevokeAccess("alice")
		r.wantGet(t, 200)
		r.wantRefreshes(t, 1)
	})
}

func TestSessionStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true, Latency: time.Second}, nil)
		r.login(t)
		r.srv.RevokeAccess("alice")
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if status, err := r.get(t.Context()); err != nil || status != 200 {
					t.Errorf("status %d, error %v", status, err)
				}
			})
		}
		wg.Wait()
		r.wantRefreshes(t, 1)
	})
}

func TestSessionEndsWhenRefreshTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []error
		r := newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Hooks = &tokenclient.Hooks{SessionEnded: func(err error) { ended = append(ended, err) }}
		})
		r.login(t)
		r.srv.RevokeAll("alice")
		for range 3 {
			_, err := r.get(t.Context())
			if !errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Fatalf("error %v, want ErrLoginRequired", err)
			}
			var te *tokenclient.TokenError
			if !errors.As(err, &te) || te.Code != "invalid_grant" {
				t.Errorf("error %v, want a TokenError with the server's code", err)
			}
			time.Sleep(time.Minute)
		}
		r.wantRefreshes(t, 1)
		synctest.Wait()
		if len(ended) != 1 {
			t.Errorf("SessionEnded called %d times, want once", len(ended))
		}
		r.login(t)
		r.wantGet(t, 200)
	})
}

func TestSessionBeforeLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true}, nil)
		if _, err := r.get(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if c := r.srv.Counters(); c.Requests != 0 {
			t.Error("a request without a token was sent")
		}
		if _, err := r.session.Peek(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("Peek: %v, want ErrLoginRequired", err)
		}
	})
}

func TestSessionLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &tokentest.Options{InMemory: true}, nil)
		token := r.login(t)
		if err := r.session.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.get(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if _, err := r.srv.OAuth2Refresher().Refresh(t.Context(), token); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("refresh after logout: %v, want the token revoked", err)
		}
		r.login(t)
		r.wantGet(t, 200)
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
			r := newRig(t, nil, nil)
			r.login(t)
			r.srv.RevokeAccess("alice")
			resp, err := r.client.Post(r.srv.URL+"/api/?echo=1", "text/plain", tc.body())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != payload {
				t.Fatalf("status %d, %d bytes, error %v; want the payload", resp.StatusCode, len(got), err)
			}
			r.wantRefreshes(t, 1)
		})
	}
}
