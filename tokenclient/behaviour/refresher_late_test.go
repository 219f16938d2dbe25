package behaviour_test

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
			eachStore(t, func(t *testing.T, keep sessiontest.Change) {
				r := misusedRig(t, keep, func(r *sessiontest.Rig, ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
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
		sessiontest.Bubble(t, name, func(t *testing.T) {
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
		"a store that is down": {sessiontest.Pair("A2", "R2", time.Hour), nil, func() error { return tokenclient.ErrStoreUnavailable }, "A2", false},
		"a store that panics":  {sessiontest.Pair("A2", "R2", time.Hour), nil, func() error { panic("planted") }, "A2", false},
		"another login": {sessiontest.Pair("A2", "R2", time.Hour), func(st tokenclient.Store, _ tokenclient.Record) {
			_, _, _ = st.Replace(t.Context(), "alice", sessiontest.Pair("A9", "R9", time.Hour))
		}, nil, "A9", true},
		"a logout": {sessiontest.Pair("A2", "R2", time.Hour), func(st tokenclient.Store, _ tokenclient.Record) {
			_, _, _ = st.Replace(t.Context(), "alice", nil)
		}, nil, "", true},
		"another refresh": {sessiontest.Pair("A2", "R2", time.Hour), func(st tokenclient.Store, seen tokenclient.Record) {
			_, _ = st.Refresh(t.Context(), "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return sessiontest.Pair("A9", "R9", time.Hour), nil
			})
		}, nil, "A9", false},
		"a claim of the refresh token that it keeps": {sessiontest.Pair("A2", "", time.Hour), func(st tokenclient.Store, seen tokenclient.Record) {
			_, _ = st.Refresh(t.Context(), "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return nil, errors.New("EOF")
			})
		}, nil, "A1", false},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
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
			defer sessiontest.Close(t, s)
			if err := s.SetToken(t.Context(), sessiontest.Pair("A1", "R1", time.Hour)); err != nil {
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
				sessiontest.WantErr(t, "Peek", err, tokenclient.ErrLoginRequired)
			} else if err != nil || now.AccessToken != tc.want {
				t.Errorf("the session has %v, error %v; want %s", now, err, tc.want)
			}
			if revoked := len(late.revoked) == 1 && late.revoked[0] == "R2"; revoked != tc.revoked || len(late.revoked) > 1 {
				t.Errorf("revoked %q", late.revoked)
			}
		})
	}
}
