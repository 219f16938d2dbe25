package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const refreshTimeout = 5 * time.Second

// misusedRig is a session whose Refresher does what refresh says, once, and then
// asks the server. alice's access token has been revoked.
func misusedRig(t *testing.T, keep sessiontest.Change, refresh func(r *sessiontest.Rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error)) *sessiontest.Rig {
	t.Helper()
	var r *sessiontest.Rig
	var calls atomic.Int32
	r = sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
		next := srv.OAuth2Refresher()
		c.RefreshTimeout = refreshTimeout
		c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			if calls.Add(1) == 1 {
				return refresh(r, ctx, old)
			}
			return next.Refresh(ctx, old)
		})
		keep(c, srv)
	})
	r.Login(t)
	r.Server.RevokeAccess("alice")
	return r
}

// What a Refresher may not do is an error for all who wait, and afterwards the
// session works.
func TestRefresherMisuse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		refresh tokenclient.RefresherFunc
	}{
		{"nothing", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { return nil, nil }},
		{"empty token", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return new(tokenclient.Token), nil
		}},
		{"panic", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { panic("planted") }},
		{"panic of nil", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { panic(nil) }},
		{"panic of an error", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			panic(tokenclient.ErrLoginRequired)
		}},
		{"runtime error", func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			return []*tokenclient.Token{}[len(old.AccessToken)], nil
		}},
		{"Goexit", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			runtime.Goexit()
			return nil, nil
		}},
		{"line break", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return sessiontest.Pair("a\r\nX-Evil: 1", "r", time.Hour), nil
		}},
		{"no access token", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return &tokenclient.Token{RefreshToken: "r"}, nil
		}},
		{"not ASCII", func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return sessiontest.Pair("schlüssel", "r", time.Hour), nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				r := misusedRig(t, keep, func(_ *sessiontest.Rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					time.Sleep(time.Second) // for others to join
					return tc.refresh(ctx, old)
				})
				began := time.Now()
				sessiontest.Crowd(10, func() {
					_, err := r.Get(t.Context())
					sessiontest.WantTransient(t, "GET", err)
					if errors.Is(err, tokenclient.ErrLoginRequired) {
						t.Errorf("GET: %v, and that ends the session", err)
					}
				})
				if took := time.Since(began); took != time.Second {
					t.Errorf("they waited %v", took)
				}
				r.WantRefreshes(t, 0) // a broken Refresher is not called twice
				time.Sleep(2 * time.Second)
				r.WantGet(t, 200)
				r.WantRefreshes(t, 1)
			})
		})
	}
}

// anothers is another session's, whose token must not become this one's.
func anothers(cause error) error {
	token := &tokenclient.Token{AccessToken: "another's", RefreshToken: "another's"}
	return tokenclient.NewNotSavedError("another", token, cause, func(context.Context) error { return nil })
}

// What only a Store may say is an error like any other: a Refresher may have it from the
// client of another session.
func TestRefresherMisuseSpeaksForAStore(t *testing.T) {
	for name, verdict := range map[string]error{
		"replaced":             fmt.Errorf("by another session: %w", tokenclient.ErrReplaced),
		"overtaken":            &tokenclient.TokenError{StatusCode: 400, Err: tokenclient.ErrOvertaken},
		"announced":            tokenclient.ErrAnnounced,
		"no token":             tokenclient.ErrNoToken,
		"no token, not sent":   fmt.Errorf("%w: %w", tokenclient.ErrNotPresented, tokenclient.ErrNoToken),
		"replaced, and refuse": fmt.Errorf("%w: %w", tokenclient.ErrReplaced, tokenclient.ErrLoginRequired),
		"not saved":            fmt.Errorf("by another session: %w", anothers(errors.New("disk full"))),
		"not saved, refused":   &tokenclient.TokenError{StatusCode: 400, Err: anothers(&tokenclient.TokenError{StatusCode: 503})},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				var broken atomic.Bool
				var calls atomic.Int32
				broken.Store(true)
				r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
					next := srv.OAuth2Refresher()
					c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						if broken.Load() {
							if calls.Add(1) > 10 {
								return next.Refresh(ctx, old) // it would go on for ever
							}
							return nil, verdict
						}
						return next.Refresh(ctx, old)
					})
					keep(c, srv)
				})
				r.Login(t)
				r.Server.RevokeAccess("alice")
				_, err := r.Get(t.Context())
				if calls.Load() > 2 {
					t.Errorf("%d calls of the Refresher", calls.Load())
				}
				broken.Store(false)
				time.Sleep(2 * time.Second)
				if errors.Is(verdict, tokenclient.ErrLoginRequired) {
					sessiontest.WantErr(t, "GET", err, tokenclient.ErrRefused)
					r.Login(t)
				} else if te := (*tokenclient.TokenError)(nil); !errors.As(err, &te) || errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("GET: %v, want a TokenError that ends no session", err)
				}
				r.WantGet(t, 200)
			})
		})
	}
}

func TestRefresherMisuseReturnsTheSameToken(t *testing.T) {
	for _, tc := range []struct {
		name    string
		refresh tokenclient.RefresherFunc
	}{
		{"pointer", func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) { return old, nil }},
		{"text", func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			return &tokenclient.Token{AccessToken: old.AccessToken}, nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				r := misusedRig(t, keep, func(_ *sessiontest.Rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					return tc.refresh(ctx, old)
				})
				r.WantGet(t, 401) // and no second round
				r.WantGet(t, 200)
				r.WantRefreshes(t, 1)
			})
		})
	}
}

// A Refresher may change the token it is given, or keep it and change it later,
// whatever the rules say: nobody else sees that.
func TestRefresherMisuseChangesTheToken(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		var kept *tokenclient.Token
		r := misusedRig(t, keep, func(_ *sessiontest.Rig, _ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			kept = old
			*old = tokenclient.Token{}
			return nil, tokenclient.ErrNotPresented
		})
		_, err := r.Get(t.Context())
		sessiontest.WantTransient(t, "GET", err)
		kept.RefreshToken = "planted"
		time.Sleep(2 * time.Second)
		r.WantGet(t, 200)
	})
}

// A Refresher that calls back with the context it was given gets a typed error at
// once, through a client too.
func TestRefresherMisuseCallsBack(t *testing.T) {
	for name, call := range map[string]func(*sessiontest.Rig, context.Context) error{
		"request": func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Get(ctx); return err },
		"derived context": func(r *sessiontest.Rig, ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			_, err := r.Get(ctx)
			return err
		},
		"Token":   func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Session.Token(ctx); return err },
		"Refresh": func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Session.Refresh(ctx); return err },
		"RefreshRejected": func(r *sessiontest.Rig, ctx context.Context) error {
			t, err := r.Session.Peek(ctx)
			if err == nil {
				_, err = r.Session.RefreshRejected(ctx, t)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				var inner error
				r := misusedRig(t, keep, func(r *sessiontest.Rig, ctx context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
					inner = call(r, ctx)
					return nil, inner
				})
				time.Sleep(20 * time.Minute) // expired as well
				began := time.Now()
				_, err := r.Get(t.Context())
				sessiontest.WantErr(t, "in the Refresher", inner, tokenclient.ErrReentrant)
				sessiontest.WantErr(t, "GET", err, tokenclient.ErrReentrant)
				sessiontest.WantTransient(t, "GET", err)
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
				time.Sleep(2 * time.Second)
				r.WantGet(t, 200)
				r.WantRefreshes(t, 1)
			})
		})
	}
}

// If it drops the context nobody can know, and the deadline of the refresh lets
// everybody go.
func TestRefresherMisuseCallsBackWithAnotherContext(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		inner := make(chan error, 1)
		r := misusedRig(t, keep, func(r *sessiontest.Rig, _ context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
			_, err := r.Get(context.Background())
			inner <- err
			return nil, err
		})
		began := time.Now()
		sessiontest.Crowd(10, func() {
			_, err := r.Get(t.Context())
			sessiontest.WantTransient(t, "GET", err)
		})
		if took := time.Since(began); took > refreshTimeout+2*time.Second {
			t.Errorf("it took %v", took)
		}
		sessiontest.WantTransient(t, "in the Refresher", <-inner)
		time.Sleep(2 * time.Second)
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

// What a Refresher says in an error or a panic may hold the secrets that it was
// given.
func TestRefresherMisuseShowsSecrets(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		for _, fail := range []func(string) error{
			func(s string) error { return fmt.Errorf("%w: cannot refresh %s", tokenclient.ErrNotPresented, s) },
			func(s string) error { panic("cannot refresh " + s) },
			func(s string) error { return &tokenclient.TokenError{Description: s, StatusCode: http.StatusTeapot} },
		} {
			r := misusedRig(t, keep, func(_ *sessiontest.Rig, _ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				return nil, fail(old.AccessToken + " or " + old.RefreshToken)
			})
			token, err := r.Session.Peek(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Get(t.Context())
			if err == nil || strings.Contains(err.Error(), token.AccessToken) || strings.Contains(err.Error(), token.RefreshToken) {
				t.Errorf("error %v shows a secret", err)
			}
		}
	})
}
