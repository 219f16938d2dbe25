package behaviour_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

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
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			tc.o.InMemory = true
			st := &sessiontest.StepStore{Store: new(store.Memory)}
			r := sessiontest.New(t, &tc.o, func(c *tokenclient.Config, _ *tokentest.Server) {
				c.RefreshBefore, c.Heartbeat = tc.before, tc.heartbeat
				c.Store, c.Key = st, "alice"
			})
			r.Login(t)
			stop, ended := r.KeepFresh(t)
			for end := time.Now().Add(tc.run); time.Now().Before(end); time.Sleep(tc.run / 500) {
				synctest.Wait()
				if now, err := r.Session.Peek(t.Context()); err != nil {
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
			if got := r.Server.Counters().Refreshes; got < tc.least || got > tc.most {
				t.Errorf("%d refreshes in %v, want %d to %d", got, tc.run, tc.least, tc.most)
			}
			if got := int(st.Refreshes.Load()); got != r.Server.Counters().Refreshes {
				t.Errorf("%d writes to the store for %d refreshes", got, r.Server.Counters().Refreshes)
			}
			if got := st.Replaces.Load(); got != 1 {
				t.Errorf("%d logins were stored", got)
			}
		})
	}
}

// TestKeepFreshPauses: the token endpoint is asked no more than 12 times in 10 seconds, however
// short tokens live, unless a heartbeat is to be faster, and often enough for those of a second.
func TestKeepFreshPauses(t *testing.T) {
	const run = 20 * time.Second
	for _, tc := range []struct {
		name         string
		lives, takes time.Duration // a token, and a refresh
		beat         time.Duration
		fresh        bool // all the time
		asks         int  // at most in 10 s; 0: 12
	}{
		{name: "a millisecond", lives: time.Millisecond},
		{name: "some milliseconds", lives: 5 * time.Millisecond, takes: 2 * time.Millisecond},
		{name: "half a second", lives: time.Second / 2},
		{name: "a second", lives: time.Second, fresh: true},
		{name: "a second, and a slow server", lives: time.Second, takes: 100 * time.Millisecond, fresh: true},
		{name: "a heartbeat", lives: time.Hour, beat: 100 * time.Millisecond, fresh: true, asks: 101},
		{name: "a heartbeat, and some milliseconds", lives: 5 * time.Millisecond, beat: 100 * time.Millisecond, asks: 101},
		{name: "a slow heartbeat, and some milliseconds", lives: 5 * time.Millisecond, beat: time.Minute},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			var asked []time.Time
			s, err := tokenclient.New(tokenclient.Config{
				Origins: []string{sessiontest.FakeAPI}, Heartbeat: tc.beat,
				Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					began := time.Now()
					asked = append(asked, began)
					time.Sleep(tc.takes)
					return &tokenclient.Token{
						AccessToken: fmt.Sprint("access", len(asked)), RefreshToken: "stays",
						Issued: began, Expiry: began.Add(tc.lives),
					}, nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetToken(t.Context(), sessiontest.Pair("access", "stays", time.Second)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), run)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.KeepFresh(ctx) }()
			for ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				if now, err := s.Peek(t.Context()); err != nil || tc.fresh && !now.Expiry.After(time.Now()) {
					t.Fatalf("the token expired at %v, and it is %v (%v)", now.Expiry, time.Now(), err)
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("KeepFresh: %v", err)
			}
			sessiontest.Close(t, s)
			if len(asked) < 20 {
				t.Errorf("asked %d times in %v", len(asked), run)
			}
			asks := cmp.Or(tc.asks, 12)
			for i := asks; i < len(asked); i++ {
				if d := asked[i].Sub(asked[i-asks]); d <= 10*time.Second {
					t.Fatalf("asked %d times in %v", asks+1, d)
				}
			}
		})
	}
}

func TestKeepFreshEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(t *testing.T, r *sessiontest.Rig)
		want error
	}{
		{"logout", func(t *testing.T, r *sessiontest.Rig) {
			r.Logout(t)
		}, tokenclient.ErrLoginRequired},
		{"Close", func(t *testing.T, r *sessiontest.Rig) { sessiontest.Close(t, r.Session) }, tokenclient.ErrClosed},
		{"refused", func(t *testing.T, r *sessiontest.Rig) {
			r.Server.RevokeAll("alice")
			_, err := r.Session.Refresh(t.Context())
			sessiontest.WantErr(t, "Refresh", err, tokenclient.ErrLoginRequired)
		}, tokenclient.ErrLoginRequired},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
			r.Login(t)
			_, ended := r.KeepFresh(t)
			time.Sleep(time.Minute + time.Second)
			tc.end(t, r)
			at := time.Now()
			sessiontest.WantErr(t, "KeepFresh", <-ended, tc.want)
			if took := time.Since(at); took > time.Second {
				t.Errorf("KeepFresh ended %v after the session", took)
			}
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
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
			token := r.Server.Issue("alice")
			if !tc.refresh {
				token.RefreshToken = ""
			}
			r.Give(t, token)
			_, ended := r.KeepFresh(t)
			r.Server.RevokeAll("alice")
			began := time.Now()
			sessiontest.WantErr(t, "KeepFresh", <-ended, tokenclient.ErrLoginRequired)
			if took := time.Since(began); took > 16*time.Minute {
				t.Errorf("KeepFresh took %v", took)
			}
			if got := r.Server.Counters().Refreshes; got > 1 {
				t.Errorf("%d refreshes", got)
			}
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
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
			if tc.token != nil {
				r.Give(t, tc.token)
			}
			began := time.Now()
			err := r.Session.KeepFresh(t.Context())
			if err == nil || time.Since(began) != 0 || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("KeepFresh: %v after %v", err, time.Since(began))
			}
			if tc.want == nil && errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("KeepFresh: %v, want an error about the expiry", err)
			}
			sessiontest.Close(t, r.Session)
			sessiontest.WantErr(t, "after Close", r.Session.KeepFresh(t.Context()), tokenclient.ErrClosed)
		})
	}
}

func TestKeepFreshSurvivesOutage(t *testing.T) {
	eachStore(t, func(t *testing.T, keep sessiontest.Change) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, keep)
		r.Login(t)
		stop, ended := r.KeepFresh(t)
		r.Server.FailRefresh(-1, tokentest.Fault{Status: 503})
		const hours = 24
		time.Sleep(hours * time.Hour)
		// With a minute of backoff at most, drawn from the whole of it, and two
		// presentations each time.
		if got := r.Server.Counters().Refreshes; got < hours*30 || got > hours*60*2*2*5/4 {
			t.Errorf("%d calls in an outage of %d hours", got, hours)
		}
		r.Server.FailRefresh(0, tokentest.Fault{})
		time.Sleep(2 * time.Minute)
		before := r.Server.Counters().Refreshes
		r.WantGet(t, 200)
		time.Sleep(time.Hour)
		r.WantGet(t, 200)
		if c := r.Server.Counters(); c.Refreshes > before+6 || c.Unauthorized != 0 || c.Reuses != 0 {
			t.Errorf("after the outage: %+v, and %d refreshes before", c, before)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("KeepFresh: %v", err)
		}
	})
}

// A store that cannot be read for a while does not end it.
func TestKeepFreshSurvivesBrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &sessiontest.StepStore{Store: new(store.Memory)}
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, sessiontest.Kept(st))
		r.Login(t)
		_, ended := r.KeepFresh(t)
		st.Broken.Store(true)
		time.Sleep(time.Hour)
		r.WantRefreshes(t, 0)
		if got := st.Refreshes.Load(); got > 60*4 {
			t.Errorf("%d attempts in an hour", got)
		}
		st.Broken.Store(false)
		time.Sleep(2 * time.Minute)
		r.WantGet(t, 200)
		if c := r.Server.Counters(); c.Unauthorized != 0 {
			t.Errorf("%d rejections", c.Unauthorized)
		}
		select {
		case err := <-ended:
			t.Errorf("KeepFresh: %v", err)
		default:
		}
	})
}
