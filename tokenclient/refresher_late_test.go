package tokenclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
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
			eachStore(t, func(t *testing.T, memory bool) {
				r := misusedRig(t, memory, func(r *sessiontest.Rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
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
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
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
		})
	}
}

// callingStore is a Store that calls back.
type callingStore struct {
	tokenclient.Store
	load, replace, refresh func(context.Context) error
}

func called(f func(context.Context) error, ctx context.Context) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (s *callingStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if err := called(s.load, ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *callingStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	if err := called(s.replace, ctx); err != nil {
		return now, was, err
	}
	return s.Store.Replace(ctx, key, t)
}

func (s *callingStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	if err := called(s.refresh, ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Refresh(ctx, key, seen, timeout, fn)
}

// A Store that calls back gets an answer or ErrReentrant, whatever it calls and
// wherever, and at once.
func TestStoreCallsBack(t *testing.T) {
	calls := map[string]func(*tokenclient.Session, context.Context) error{
		"Token":   func(s *tokenclient.Session, ctx context.Context) error { _, err := s.Token(ctx); return err },
		"Peek":    func(s *tokenclient.Session, ctx context.Context) error { _, err := s.Peek(ctx); return err },
		"Refresh": func(s *tokenclient.Session, ctx context.Context) error { _, err := s.Refresh(ctx); return err },
		"Logout":  func(s *tokenclient.Session, ctx context.Context) error { return s.Logout(ctx) },
		"SetToken": func(s *tokenclient.Session, ctx context.Context) error {
			return s.SetToken(ctx, sessiontest.Pair("other", "other", time.Hour))
		},
	}
	for _, from := range []string{"Load", "Replace", "Refresh"} {
		for name, call := range calls {
			t.Run(name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var r *sessiontest.Rig
					var depth int
					var inner []error
					back := func(ctx context.Context) error {
						if depth++; depth > 1 {
							return nil
						}
						ctx, cancel := context.WithTimeout(ctx, time.Hour) // in the place of a deadlock
						defer cancel()
						inner = append(inner, call(r.Session, ctx))
						return nil
					}
					st := &callingStore{Store: new(store.Memory)}
					r = sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
						c.Store, c.Key = st, "alice"
					})
					began := time.Now()
					switch from {
					case "Load":
						st.load = back
						_, _ = r.Session.Token(t.Context())
					case "Replace":
						st.replace = back
						_ = r.Session.SetToken(t.Context(), r.Server.Issue("alice"))
					case "Refresh":
						r.Login(t)
						st.refresh = back
						_, _ = r.Session.Refresh(t.Context())
					}
					took := time.Since(began)
					synctest.Wait()
					if took != 0 || len(inner) == 0 {
						t.Fatalf("%v after %v: a deadlock, but for the deadline", inner, took)
					}
					for _, err := range inner {
						if err != nil && !errors.Is(err, tokenclient.ErrReentrant) && !errors.Is(err, tokenclient.ErrLoginRequired) {
							t.Errorf("the call from inside: %v", err)
						}
					}
					st.load, st.replace, st.refresh = nil, nil, nil
					r.Login(t)
					r.WantGet(t, 200)
				})
			})
		}
	}
}

// A Store that panics or ends its goroutine is unavailable, and no more than that.
func TestStoreMisuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &callingStore{Store: new(store.Memory)}
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Store, c.Key = st, "alice"
		})
		explode := func(context.Context) error { panic("planted") }
		st.load = explode
		_, err := r.Session.Token(t.Context())
		sessiontest.WantErr(t, "Token", err, tokenclient.ErrStoreUnavailable)
		time.Sleep(2 * time.Second)
		st.load, st.replace = nil, explode
		sessiontest.WantErr(t, "SetToken", r.Session.SetToken(t.Context(), r.Server.Issue("alice")), tokenclient.ErrStoreUnavailable)
		st.replace = nil
		r.Login(t)
		st.refresh = explode
		_, err = r.Session.Refresh(t.Context())
		sessiontest.WantErr(t, "Refresh", err, tokenclient.ErrStoreUnavailable)
		st.refresh = nil
		time.Sleep(2 * time.Second)
		r.WantGet(t, 200)
		st.replace = explode
		sessiontest.WantErr(t, "Logout", r.Session.Logout(t.Context()), tokenclient.ErrStoreUnavailable)
		_, err = r.Get(t.Context())
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoggedOut)
		r.WantRefreshes(t, 0)
	})
}
