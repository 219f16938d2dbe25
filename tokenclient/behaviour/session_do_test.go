package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

var errDial = errors.New("connection refused")

// TestDo: what follows from what f says.
func TestDo(t *testing.T) {
	refused := fmt.Errorf("%w: 535 5.7.8", tokenclient.ErrRejected)
	for name, tc := range map[string]struct {
		prepare   func(*testing.T, *sessiontest.Rig)
		says      []error // of each call
		refreshes int
		want      []error // nil: no error
		not       error
	}{
		"accepted":           {says: []error{nil}},
		"refused once":       {says: []error{refused, nil}, refreshes: 1},
		"refused, as it is":  {says: []error{tokenclient.ErrRejected, nil}, refreshes: 1},
		"refused twice":      {says: []error{refused, refused}, refreshes: 1, want: []error{tokenclient.ErrRejected, refused}},
		"refused, then down": {says: []error{refused, errDial}, refreshes: 1, want: []error{errDial}, not: tokenclient.ErrRejected},
		"down":               {says: []error{errDial}, want: []error{errDial}},
		"no token": {prepare: func(t *testing.T, r *sessiontest.Rig) { r.Logout(t) },
			want: []error{tokenclient.ErrLoginRequired}},
		"expired": {prepare: func(*testing.T, *sessiontest.Rig) { time.Sleep(time.Hour) },
			says: []error{nil}, refreshes: 1},
		"refresh token refused": {prepare: func(_ *testing.T, r *sessiontest.Rig) { r.Server.RevokeAll("alice") },
			says: []error{refused}, refreshes: 1, want: []error{tokenclient.ErrRefused, tokenclient.ErrLoginRequired}, not: tokenclient.ErrRejected},
		"closed": {prepare: func(t *testing.T, r *sessiontest.Rig) { sessiontest.Close(t, r.Session) },
			want: []error{tokenclient.ErrClosed}},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			var attached atomic.Int32
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
				c.Hooks = &tokenclient.Hooks{Attached: func(context.Context, uint64) { attached.Add(1) }}
			})
			first := r.Login(t)
			if tc.prepare != nil {
				tc.prepare(t, r)
			}
			type key struct{}
			ctx := context.WithValue(t.Context(), key{}, true)
			var given []string
			err := r.Session.Do(ctx, func(inner context.Context, token *tokenclient.Token) error {
				if inner.Value(key{}) != true || inner.Done() != ctx.Done() { // it has the token besides
					t.Error("another context")
				}
				given = append(given, token.AccessToken)
				token.AccessToken, token.RefreshToken = "planted", "planted" // it is a copy
				if len(given) > len(tc.says) {
					t.Fatalf("call %d", len(given))
				}
				return tc.says[len(given)-1]
			})
			if len(given) != len(tc.says) || int(attached.Load()) != len(given) {
				t.Errorf("%d calls, Attached told of %d; want %d", len(given), attached.Load(), len(tc.says))
			}
			if len(given) == 2 && (given[0] != first.AccessToken || given[1] == given[0]) {
				t.Error("the second call got no new token")
			}
			if len(tc.want) == 0 && err != nil || len(tc.want) > 0 && err == nil || tc.not != nil && errors.Is(err, tc.not) {
				t.Errorf("error %v", err)
			}
			for _, want := range tc.want {
				sessiontest.WantErr(t, "Do", err, want)
			}
			r.WantRefreshes(t, tc.refreshes)
		})
	}
}

// TestDoTogether: everybody who is refused waits for one refresh.
func TestDoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, slow(), nil)
		first := r.Login(t)
		sessiontest.Crowd(50, func() {
			err := r.Session.Do(t.Context(), func(_ context.Context, token *tokenclient.Token) error {
				time.Sleep(time.Second)
				if token.AccessToken == first.AccessToken {
					return tokenclient.ErrRejected
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		r.WantRefreshes(t, 1)
	})
}

// TestDoStorm: a server that refuses whatever it is shown does not keep the token endpoint
// at work, and f is called no more than it has to be.
func TestDoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Login(t)
		calls := 0
		for range 20 {
			err := r.Session.Do(t.Context(), func(context.Context, *tokenclient.Token) error {
				calls++
				return tokenclient.ErrRejected
			})
			if err != tokenclient.ErrRejected {
				t.Errorf("error %v, want f's own", err)
			}
		}
		if n := r.Server.Counters().Refreshes; n > 3 || calls != 20+n {
			t.Errorf("%d refreshes, %d calls", n, calls)
		}
	})
}

// TestDoFailsElsewhere: an error of another kind does not say that the second token was taken, so it
// is no reason to refresh without bounds.
func TestDoFailsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Login(t)
		for range 20 {
			calls := 0
			err := r.Session.Do(t.Context(), func(context.Context, *tokenclient.Token) error {
				if calls++; calls == 1 {
					return tokenclient.ErrRejected
				}
				return errDial
			})
			if !errors.Is(err, errDial) && !errors.Is(err, tokenclient.ErrRejected) {
				t.Error(err)
			}
		}
		r.WantRefreshes(t, 3)
	})
}

// TestDoRefusedLater: a protocol that learns of the refusal when f has returned goes by
// RefreshRejected to the second call, of which the same follows as of that of Do itself.
func TestDoRefusedLater(t *testing.T) {
	for name, c := range map[string]struct {
		says      error
		refreshes int
	}{
		"accepted": {nil, 20},
		"refused":  {tokenclient.ErrRejected, 3},
		"down":     {errDial, 3},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
			r.Login(t)
			for range 20 {
				var kept context.Context
				var lent *tokenclient.Token
				if err := r.Session.Do(t.Context(), func(ctx context.Context, token *tokenclient.Token) error {
					kept, lent = ctx, token
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				next, err := r.Session.RefreshRejected(kept, lent)
				if err != nil {
					sessiontest.WantErr(t, "RefreshRejected", err, tokenclient.ErrRejected)
					sessiontest.WantTransient(t, "RefreshRejected", err)
					continue
				}
				if again, err := r.Session.RefreshRejected(kept, lent); err != nil || again.AccessToken != next.AccessToken {
					t.Errorf("the same refusal again refreshes once more, or %v", err)
				}
				calls := 0
				if err := r.Session.Do(kept, func(_ context.Context, token *tokenclient.Token) error {
					if calls++; token.AccessToken != next.AccessToken || next.AccessToken == lent.AccessToken {
						t.Error("another token than that of RefreshRejected")
					}
					return c.says
				}); !errors.Is(err, c.says) || calls != 1 {
					t.Errorf("%v after %d calls", err, calls)
				}
			}
			r.WantRefreshes(t, c.refreshes)
		})
	}
}

// TestDoOtherLogin: f is not called again as somebody else.
func TestDoOtherLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
		r.Login(t)
		calls := 0
		err := r.Session.Do(t.Context(), func(context.Context, *tokenclient.Token) error {
			calls++
			r.Give(t, r.Server.Issue("bob"))
			return tokenclient.ErrRejected
		})
		if sessiontest.WantErr(t, "Do", err, tokenclient.ErrReplaced); calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestDoFromInside: a Refresher that would wait for itself is told so.
func TestDoFromInside(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		var inner error
		r := misusedRig(t, keep, func(r *sessiontest.Rig, ctx context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
			inner = r.Session.Do(ctx, func(context.Context, *tokenclient.Token) error { return tokenclient.ErrRejected })
			return nil, inner
		})
		_, err := r.Get(t.Context())
		sessiontest.WantErr(t, "Do", inner, tokenclient.ErrReentrant)
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrReentrant)
	})
}

// TestDoLeaves: who waits for the refresh leaves with its context.
func TestDoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, slow(), nil)
		r.Login(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := r.Session.Do(ctx, func(context.Context, *tokenclient.Token) error { return tokenclient.ErrRejected })
		sessiontest.WantErr(t, "Do", err, context.DeadlineExceeded)
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute)
	})
}

// TestDoWithoutRefresher: there is no other token to be had, and f's own error is the result.
func TestDoWithoutRefresher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("X-Auth-Token")
		})
		r.Login(t)
		calls := 0
		err := r.Session.Do(t.Context(), func(context.Context, *tokenclient.Token) error {
			calls++
			return tokenclient.ErrRejected
		})
		if err != tokenclient.ErrRejected || calls != 1 {
			t.Errorf("error %v after %d calls", err, calls)
		}
	})
}
