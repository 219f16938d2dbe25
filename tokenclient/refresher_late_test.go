package tokenclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
				r := misusedRig(t, memory, func(r *rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					time.Sleep(refreshTimeout + late)
					return r.srv.OAuth2Refresher().Refresh(context.WithoutCancel(ctx), old)
				})
				began := time.Now()
				status, err := r.get(t.Context())
				if took := time.Since(began); took > refreshTimeout+time.Second {
					t.Errorf("it took %v", took)
				}
				if late < 500*time.Millisecond { // the grace
					if err != nil || status != 200 {
						t.Errorf("status %d, error %v", status, err)
					}
				} else {
					wantTransient(t, "GET", err)
				}
				time.Sleep(late + time.Second)
				r.wantGet(t, 200)
				r.wantRefreshes(t, 1)
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
				r := newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
					c.Store, c.Key, c.RefreshTimeout = kept, "alice", refreshTimeout
					c.Refresher = tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						var err error
						made, err = srv.OAuth2Refresher().Refresh(context.WithoutCancel(ctx), old)
						time.Sleep(refreshTimeout + 10*time.Second)
						return made, err
					})
				})
				r.login(t)
				r.srv.RevokeAccess("alice")
				go func() { _, _ = r.get(t.Context()) }()
				time.Sleep(at)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := r.session.Close(ctx); err != nil {
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

// lateRefresher ignores its context and brings a pair long after that.
type lateRefresher struct {
	brings  *tokenclient.Token
	revoked []string
}

func (r *lateRefresher) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	time.Sleep(refreshTimeout + 10*time.Second)
	return r.brings, nil
}

func (r *lateRefresher) Revoke(_ context.Context, t *tokenclient.Token) error {
	r.revoked = append(r.revoked, t.RefreshToken)
	return nil
}

// What a pair that comes late finds in the store decides what becomes of it.
func TestRefresherLateFinds(t *testing.T) {
	for name, tc := range map[string]struct {
		brings    *tokenclient.Token
		meanwhile func(st tokenclient.Store, seen tokenclient.Record)
		save      func() error // the first three times
		want      string       // the access token of the session; "": none
		revoked   bool
	}{
		"a store that is down": {pair("A2", "R2", time.Hour), nil, func() error { return tokenclient.ErrStoreUnavailable }, "A2", false},
		"a store that panics":  {pair("A2", "R2", time.Hour), nil, func() error { panic("planted") }, "A2", false},
		"another login": {pair("A2", "R2", time.Hour), func(st tokenclient.Store, _ tokenclient.Record) {
			_, _, _ = st.Replace(t.Context(), "alice", pair("A9", "R9", time.Hour))
		}, nil, "A9", true},
		"a logout": {pair("A2", "R2", time.Hour), func(st tokenclient.Store, _ tokenclient.Record) {
			_, _, _ = st.Replace(t.Context(), "alice", nil)
		}, nil, "", true},
		"another refresh": {pair("A2", "R2", time.Hour), func(st tokenclient.Store, seen tokenclient.Record) {
			_, _ = st.Refresh(t.Context(), "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return pair("A9", "R9", time.Hour), nil
			})
		}, nil, "A9", false},
		"a claim of the refresh token that it keeps": {pair("A2", "", time.Hour), func(st tokenclient.Store, seen tokenclient.Record) {
			_, _ = st.Refresh(t.Context(), "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return nil, errors.New("EOF")
			})
		}, nil, "A1", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, late := &callingStore{Store: new(store.Memory)}, &lateRefresher{brings: tc.brings}
				if tc.save != nil {
					n := 0
					st.save = func(context.Context) error {
						if n++; n <= 3 {
							return tc.save()
						}
						return nil
					}
				}
				s, err := tokenclient.New(tokenclient.Config{
					Store: st, Key: "alice", AnyOrigin: true, Refresher: late, RefreshTimeout: refreshTimeout,
				})
				if err != nil {
					t.Fatal(err)
				}
				defer closeSession(t, s)
				if err := s.SetToken(t.Context(), pair("A1", "R1", time.Hour)); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Refresh(t.Context()); err == nil {
					t.Error("no error, though the Refresher did not return")
				}
				seen, err := st.Store.Load(t.Context(), "alice")
				if err != nil {
					t.Fatal(err)
				}
				if tc.meanwhile != nil {
					tc.meanwhile(st.Store, seen)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				now, err := s.Peek(t.Context())
				if tc.want == "" {
					wantErr(t, "Peek", err, tokenclient.ErrLoginRequired)
				} else if err != nil || now.AccessToken != tc.want {
					t.Errorf("the session has %v, error %v; want %s", now, err, tc.want)
				}
				if revoked := len(late.revoked) == 1 && late.revoked[0] == "R2"; revoked != tc.revoked || len(late.revoked) > 1 {
					t.Errorf("revoked %q", late.revoked)
				}
			})
		})
	}
}

// callingStore is a Store that calls back.
type callingStore struct {
	tokenclient.Store
	load, replace, refresh, save func(context.Context) error
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

func (s *callingStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	if err := called(s.save, ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Save(ctx, key, seen, t)
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
			return s.SetToken(ctx, pair("other", "other", time.Hour))
		},
	}
	for _, from := range []string{"Load", "Replace", "Refresh"} {
		for name, call := range calls {
			t.Run(name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var r *rig
					var depth int
					var inner []error
					back := func(ctx context.Context) error {
						if depth++; depth > 1 {
							return nil
						}
						ctx, cancel := context.WithTimeout(ctx, time.Hour) // in the place of a deadlock
						defer cancel()
						inner = append(inner, call(r.session, ctx))
						return nil
					}
					st := &callingStore{Store: new(store.Memory)}
					r = newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
						c.Store, c.Key = st, "alice"
					})
					began := time.Now()
					switch from {
					case "Load":
						st.load = back
						_, _ = r.session.Token(t.Context())
					case "Replace":
						st.replace = back
						_ = r.session.SetToken(t.Context(), r.srv.Issue("alice"))
					case "Refresh":
						r.login(t)
						st.refresh = back
						_, _ = r.session.Refresh(t.Context())
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
					r.login(t)
					r.wantGet(t, 200)
				})
			})
		}
	}
}

// A Store that panics or ends its goroutine is unavailable, and no more than that.
func TestStoreMisuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &callingStore{Store: new(store.Memory)}
		r := newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Store, c.Key = st, "alice"
		})
		explode := func(context.Context) error { panic("planted") }
		st.load = explode
		_, err := r.session.Token(t.Context())
		wantErr(t, "Token", err, tokenclient.ErrStoreUnavailable)
		time.Sleep(2 * time.Second)
		st.load, st.replace = nil, explode
		wantErr(t, "SetToken", r.session.SetToken(t.Context(), r.srv.Issue("alice")), tokenclient.ErrStoreUnavailable)
		st.replace = nil
		r.login(t)
		st.refresh = explode
		_, err = r.session.Refresh(t.Context())
		wantErr(t, "Refresh", err, tokenclient.ErrStoreUnavailable)
		st.refresh = nil
		time.Sleep(2 * time.Second)
		r.wantGet(t, 200)
		st.replace = explode
		wantErr(t, "Logout", r.session.Logout(t.Context()), tokenclient.ErrStoreUnavailable)
		_, err = r.get(t.Context())
		wantErr(t, "GET", err, tokenclient.ErrLoggedOut)
		r.wantRefreshes(t, 0)
	})
}
