package behaviour_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// clientAuthFunc is a function as a ClientAuth.
type clientAuthFunc func(context.Context, string, url.Values, http.Header) error

func (f clientAuthFunc) Authenticate(ctx context.Context, endpoint string, form url.Values, header http.Header) error {
	return f(ctx, endpoint, form, header)
}

// callingAttacher calls back before it attaches.
type callingAttacher struct {
	header tokenclient.HeaderAttacher
	back   func(context.Context) error
}

func (a callingAttacher) HeaderName() string { return a.header.HeaderName() }

func (a callingAttacher) Attach(req *http.Request, t *tokenclient.Token) error {
	if err := a.back(req.Context()); err != nil {
		return err
	}
	return a.header.Attach(req, t)
}

// callbacks are the places from which a user's code can call the session, each with the
// context that it is given. The change has back called there.
var callbacks = map[string]struct {
	inside bool // Close waits for it
	change func(c *tokenclient.Config, srv *tokentest.Server, back func(context.Context) error)
}{
	"Refresher": {true, func(c *tokenclient.Config, srv *tokentest.Server, back func(context.Context) error) {
		next := srv.OAuth2Refresher()
		c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			_ = back(ctx)
			return next.Refresh(ctx, old)
		})
	}},
	"Refresher of an Audience": {true, func(c *tokenclient.Config, srv *tokentest.Server, back func(context.Context) error) {
		next := srv.OAuth2Refresher()
		c.Audiences = []tokenclient.Audience{{Name: "api", Origins: c.Origins, Refresher: tokenclient.RefresherFunc(
			func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				_ = back(ctx)
				return next.Refresh(ctx, old)
			})}}
		c.Origins = []string{"https://other.example.com"}
	}},
	"HTTPClient of a Refresher": {true, func(c *tokenclient.Config, srv *tokentest.Server, back func(context.Context) error) {
		r := srv.OAuth2Refresher()
		base := r.HTTPClient.Transport
		r.HTTPClient = &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			_ = back(req.Context())
			return base.RoundTrip(req)
		})}
		c.Refresher = r
	}},
	"ClientAuth": {true, func(c *tokenclient.Config, srv *tokentest.Server, back func(context.Context) error) {
		r := srv.OAuth2Refresher()
		next := r.ClientAuth
		r.ClientAuth = clientAuthFunc(func(ctx context.Context, endpoint string, form url.Values, header http.Header) error {
			_ = back(ctx)
			return next.Authenticate(ctx, endpoint, form, header)
		})
		c.Refresher = r
	}},
	"Attacher of a Refresher": {true, func(c *tokenclient.Config, srv *tokentest.Server, back func(context.Context) error) {
		r := srv.JSONRefresher()
		r.Attacher = callingAttacher{"X-Auth-Token", func(ctx context.Context) error { _ = back(ctx); return nil }}
		c.Refresher = r
	}},
	"Store.Refresh": {true, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Store.(*callingStore).refresh = func(ctx context.Context) error { _ = back(ctx); return nil }
	}},
	"Store.Load": {true, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Store.(*callingStore).load = func(ctx context.Context) error { _ = back(ctx); return nil }
	}},
	"Store.Replace": {true, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Store.(*callingStore).replace = func(ctx context.Context) error { _ = back(ctx); return nil }
	}},
	"Attacher": {false, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Attacher = callingAttacher{"Authorization", func(ctx context.Context) error { _ = back(ctx); return nil }}
	}},
	"Rejected": {false, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Rejected = func(resp *http.Response) bool {
			_ = back(resp.Request.Context())
			return resp.StatusCode == http.StatusUnauthorized
		}
	}},
	"Renewed": {false, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Renewed = func(resp *http.Response) (*tokenclient.Token, bool) {
			_ = back(resp.Request.Context())
			return nil, false
		}
	}},
	"Hooks.Attached": {false, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Hooks = &tokenclient.Hooks{Attached: func(ctx context.Context, _ uint64) { _ = back(ctx) }}
	}},
	"Hooks.RefreshStarted": {false, func(c *tokenclient.Config, _ *tokentest.Server, back func(context.Context) error) {
		c.Hooks = &tokenclient.Hooks{RefreshStarted: func(tokenclient.RefreshInfo) { _ = back(context.Background()) }}
	}},
}

// TestCloseFromInside: who calls Close from where Close would wait for it is told so at
// once, and nothing is closed. From elsewhere Close does what it always does.
func TestCloseFromInside(t *testing.T) {
	for name, cb := range callbacks {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			var r *sessiontest.Rig
			var inner error
			var took time.Duration
			calls := 0
			back := func(ctx context.Context) error {
				if calls++; calls > 1 {
					return nil
				}
				ctx, cancel := context.WithTimeout(ctx, time.Hour) // in the place of a deadlock
				defer cancel()
				began := time.Now()
				inner = r.Session.Close(ctx)
				took = time.Since(began)
				return inner
			}
			r = sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
				c.Store, c.Key = &callingStore{Store: new(store.Memory)}, "alice"
				cb.change(c, srv, back)
			})
			_, _ = r.Session.Token(t.Context()) // a look at the Store
			if err := r.Session.SetToken(t.Context(), r.Server.Issue("alice")); err != nil {
				t.Fatal(err)
			}
			r.Server.RevokeAccess("alice")
			status, err := r.Get(t.Context())
			synctest.Wait()
			if calls == 0 || took != 0 {
				t.Fatalf("%d calls, Close took %v", calls, took)
			}
			if !cb.inside {
				if inner != nil {
					t.Errorf("Close: %v", inner)
				}
				_, err := r.Get(t.Context())
				sessiontest.WantErr(t, "a request after it", err, tokenclient.ErrClosed)
				return
			}
			sessiontest.WantErr(t, "Close", inner, tokenclient.ErrReentrant)
			if err != nil || status != 200 {
				t.Errorf("the request: status %d, error %v", status, err)
			}
		})
	}
}

// TestCloseFromInsideWithAnotherContext: nobody can know then, but it is no deadlock.
func TestCloseFromInsideWithAnotherContext(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		inner := make(chan error, 1)
		r := misusedRig(t, keep, func(r *sessiontest.Rig, _ context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
			err := r.Session.Close(context.Background())
			inner <- err
			return nil, err
		})
		began := time.Now()
		_, err := r.Get(t.Context())
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrClosed)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if err := <-inner; err == nil {
			t.Error("Close from inside: no error")
		}
		if took := time.Since(began); took != refreshTimeout+time.Minute {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestPoolCloseFromInside: the same for a Pool, whose Close waits for all its sessions, and
// for Configs.
func TestPoolCloseFromInside(t *testing.T) {
	for _, from := range []string{"PoolConfig.Config", "Refresher", "Refresher of an Audience", "Store.Load"} {
		sessiontest.Bubble(t, from, func(t *testing.T) {
			var p *tokenclient.Pool
			var inner []error
			back := func(ctx context.Context, here string) {
				if here != from {
					return
				}
				ctx, cancel := context.WithTimeout(ctx, time.Hour) // in the place of a deadlock
				defer cancel()
				inner = append(inner, p.Close(ctx))
			}
			refresher := tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				if strings.HasPrefix(from, "Refresher") {
					back(ctx, from)
				}
				return fresh(old), nil
			})
			st := &callingStore{Store: &sessiontest.PoolStore{Known: expired}}
			st.load = func(ctx context.Context) error { back(ctx, "Store.Load"); return nil }
			p = sessiontest.NewPool(t, tokenclient.PoolConfig{
				Store: st,
				Config: func(ctx context.Context, _ string) (tokenclient.Config, error) {
					back(ctx, "PoolConfig.Config")
					c := tokenclient.Config{Refresher: refresher, Origins: []string{sessiontest.FakeAPI}}
					if from == "Refresher of an Audience" {
						c.Audiences = []tokenclient.Audience{{Name: "api", Refresher: refresher, Origins: c.Origins}}
						c.Origins = []string{"https://other.example.com"}
					}
					return c, nil
				},
			}, nil)
			began := time.Now()
			err := sessiontest.Ask(t.Context(), p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK}), "alice")
			if took := time.Since(began); err != nil || took != 0 || len(inner) == 0 {
				t.Errorf("error %v after %v, %d calls", err, took, len(inner))
			}
			for _, err := range inner {
				sessiontest.WantErr(t, "Close", err, tokenclient.ErrReentrant)
			}
		})
	}
}
