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

// keepFresh runs KeepFresh until stop is called, or until it ends by itself; its
// result comes out of the channel.
func (r *rig) keepFresh(t *testing.T) (stop func(), ended <-chan error) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- r.session.KeepFresh(ctx) }()
	return cancel, result
}

func TestKeepFreshRefreshesInTime(t *testing.T) {
	for _, tc := range []struct {
		name        string
		o           tokentest.Options
		before      time.Duration
		heartbeat   time.Duration
		run         time.Duration
		least, most int
	}{
		{name: "by expiry", run: 24 * time.Hour, least: 24 * 4, most: 24 * 6},
		{name: "tokens of a minute", o: tokentest.Options{AccessLifetime: time.Minute}, run: time.Hour, least: 60, most: 90},
		{name: "tokens of a second", o: tokentest.Options{AccessLifetime: time.Second}, run: time.Minute, least: 60, most: 90},
		{name: "tokens of a year", o: tokentest.Options{AccessLifetime: 365 * 24 * time.Hour}, run: 24 * time.Hour},
		{name: "half the lifetime before", before: time.Hour, run: 24 * time.Hour, least: 24 * 6, most: 24 * 11},
		{name: "never early", before: -1, run: 24 * time.Hour, least: 24*4 - 1, most: 24 * 4},
		{name: "heartbeat", heartbeat: time.Minute, run: 2 * time.Hour, least: 119, most: 121},
		{name: "heartbeat, no expiry", o: tokentest.Options{Opaque: true, NoExpiresIn: true}, heartbeat: time.Minute, run: 2 * time.Hour, least: 119, most: 121},
		{name: "heartbeat slower than the tokens", heartbeat: time.Hour, run: 24 * time.Hour, least: 24 * 4, most: 24 * 6},
		{name: "clock an hour behind the server's", o: tokentest.Options{ClockSkew: time.Hour, NoExpiresIn: true}, run: 24 * time.Hour, least: 24 * 4, most: 24 * 6},
		{name: "milliseconds", o: tokentest.Options{Milliseconds: true, NoExpiresIn: true}, run: 24 * time.Hour, least: 24 * 4, most: 24 * 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.o.InMemory = true
				st := &stepStore{Store: new(store.Memory)}
				r := newRig(t, &tc.o, func(c *tokenclient.Config, _ *tokentest.Server) {
					c.RefreshBefore, c.Heartbeat = tc.before, tc.heartbeat
					c.Store, c.Key = st, "alice"
				})
				r.login(t)
				stop, ended := r.keepFresh(t)
				for end := time.Now().Add(tc.run); time.Now().Before(end); time.Sleep(tc.run / 500) {
					synctest.Wait()
					if now, err := r.session.Peek(t.Context()); err != nil {
						t.Fatal(err)
					} else if !now.Expiry.IsZero() && !now.Expiry.After(time.Now()) && tc.before >= 0 {
						t.Fatalf("the token expired at %v, and it is %v", now.Expiry, time.Now())
					}
				}
				stop()
				if err := <-ended; err != nil {
					t.Errorf("KeepFresh: %v, want nil when its context ends", err)
				}
				synctest.Wait() // a refresh may have begun just now
				if got := r.srv.Counters().Refreshes; got < tc.least || got > tc.most {
					t.Errorf("%d refreshes in %v, want %d to %d", got, tc.run, tc.least, tc.most)
				}
				if got := int(st.refreshes.Load()); got != r.srv.Counters().Refreshes {
					t.Errorf("%d writes to the store for %d refreshes", got, r.srv.Counters().Refreshes)
				}
				if got := st.replaces.Load(); got != 1 {
					t.Errorf("%d logins were stored", got)
				}
			})
		})
	}
}

func TestKeepFreshEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(t *testing.T, r *rig)
		want error
	}{
		{"logout", func(t *testing.T, r *rig) {
			if err := r.session.Logout(t.Context()); err != nil {
				t.Error(err)
			}
		}, tokenclient.ErrLoginRequired},
		{"Close", func(t *testing.T, r *rig) { closeSession(t, r.session) }, tokenclient.ErrClosed},
		{"refused", func(t *testing.T, r *rig) {
			r.srv.RevokeAll("alice")
			_, err := r.session.Refresh(t.Context())
			wantErr(t, "Refresh", err, tokenclient.ErrLoginRequired)
		}, tokenclient.ErrLoginRequired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &tokentest.Options{InMemory: true}, nil)
				r.login(t)
				_, ended := r.keepFresh(t)
				time.Sleep(time.Minute + time.Second)
				tc.end(t, r)
				at := time.Now()
				wantErr(t, "KeepFresh", <-ended, tc.want)
				if took := time.Since(at); took > time.Second {
					t.Errorf("KeepFresh ended %v after the session", took)
				}
			})
		})
	}
}

// The refresh token dies, and KeepFresh is the one who finds out.
func TestKeepFreshFindsTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name    string
		refresh bool // the token has a refresh token
	}{
		{"refresh token refused", true},
		{"no refresh token", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &tokentest.Options{InMemory: true}, nil)
				token := r.srv.Issue("alice")
				if !tc.refresh {
					token.RefreshToken = ""
				}
				r.give(t, token)
				_, ended := r.keepFresh(t)
				r.srv.RevokeAll("alice")
				began := time.Now()
				wantErr(t, "KeepFresh", <-ended, tokenclient.ErrLoginRequired)
				if took := time.Since(began); took > 16*time.Minute {
					t.Errorf("KeepFresh took %v", took)
				}
				if got := r.srv.Counters().Refreshes; got > 1 {
					t.Errorf("%d refreshes", got)
				}
			})
		})
	}
}

func TestKeepFreshRefusesAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		token *tokenclient.Token
		want  error // nil: an error that is none of ours
	}{
		{"no expiry", &tokenclient.Token{AccessToken: "opaque", RefreshToken: "r"}, nil},
		{"no token", nil, tokenclient.ErrLoginRequired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &tokentest.Options{InMemory: true}, nil)
				if tc.token != nil {
					r.give(t, tc.token)
				}
				began := time.Now()
				err := r.session.KeepFresh(t.Context())
				if err == nil || time.Since(began) != 0 || tc.want != nil && !errors.Is(err, tc.want) {
					t.Errorf("KeepFresh: %v after %v", err, time.Since(began))
				}
				if tc.want == nil && errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("KeepFresh: %v, want an error about the expiry", err)
				}
				closeSession(t, r.session)
				wantErr(t, "after Close", r.session.KeepFresh(t.Context()), tokenclient.ErrClosed)
			})
		})
	}
}

func TestKeepFreshSurvivesOutage(t *testing.T) {
	for name, memory := range map[string]bool{"no store": false, "memory": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
					if memory {
						c.Store, c.Key = new(store.Memory), "alice"
					}
				})
				r.login(t)
				stop, ended := r.keepFresh(t)
				r.srv.FailRefresh(-1, tokentest.Fault{Status: 503})
				const hours = 24
				time.Sleep(hours * time.Hour)
				// With a minute of backoff at most, drawn from the whole of it, and two
				// presentations each time.
				if got := r.srv.Counters().Refreshes; got < hours*30 || got > hours*60*2*2*5/4 {
					t.Errorf("%d calls in an outage of %d hours", got, hours)
				}
				r.srv.FailRefresh(0, tokentest.Fault{})
				time.Sleep(2 * time.Minute)
				before := r.srv.Counters().Refreshes
				r.wantGet(t, 200)
				time.Sleep(time.Hour)
				r.wantGet(t, 200)
				if c := r.srv.Counters(); c.Refreshes > before+6 || c.Unauthorized != 0 || c.Reuses != 0 {
					t.Errorf("after the outage: %+v, and %d refreshes before", c, before)
				}
				stop()
				if err := <-ended; err != nil {
					t.Errorf("KeepFresh: %v", err)
				}
			})
		})
	}
}

// A store that cannot be read for a while does not end it.
func TestKeepFreshSurvivesBrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &stepStore{Store: new(store.Memory)}
		r := newRig(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Store, c.Key = st, "alice"
		})
		r.login(t)
		_, ended := r.keepFresh(t)
		st.broken.Store(true)
		time.Sleep(time.Hour)
		r.wantRefreshes(t, 0)
		if got := st.refreshes.Load(); got > 60*4 {
			t.Errorf("%d attempts in an hour", got)
		}
		st.broken.Store(false)
		time.Sleep(2 * time.Minute)
		r.wantGet(t, 200)
		if c := r.srv.Counters(); c.Unauthorized != 0 {
			t.Errorf("%d rejections", c.Unauthorized)
		}
		select {
		case err := <-ended:
			t.Errorf("KeepFresh: %v", err)
		default:
		}
	})
}
