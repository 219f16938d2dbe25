package behaviour_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// timeOptions are servers with all sorts of ideas about time.
var timeOptions = []struct {
	name string
	o    tokentest.Options
	// blind: the client cannot know the expiry, and learns of it by a rejection.
	blind bool
}{
	{name: "plain"},
	{name: "server an hour ahead", o: tokentest.Options{ClockSkew: time.Hour}},
	{name: "server an hour behind", o: tokentest.Options{ClockSkew: -time.Hour}},
	{name: "ahead, expiry from the JWT", o: tokentest.Options{ClockSkew: time.Hour, NoExpiresIn: true}},
	{name: "behind, expiry from the JWT", o: tokentest.Options{ClockSkew: -time.Hour, NoExpiresIn: true}},
	{name: "a year behind, expiry from the JWT", o: tokentest.Options{ClockSkew: -365 * 24 * time.Hour, NoExpiresIn: true}},
	{name: "milliseconds", o: tokentest.Options{Milliseconds: true, NoExpiresIn: true}},
	{name: "milliseconds, ahead", o: tokentest.Options{Milliseconds: true, NoExpiresIn: true, ClockSkew: time.Hour}},
	{name: "opaque", o: tokentest.Options{Opaque: true}},
	{name: "opaque, ahead", o: tokentest.Options{Opaque: true, ClockSkew: time.Hour}},
	{name: "opaque, no expiry", o: tokentest.Options{Opaque: true, NoExpiresIn: true}, blind: true},
}

// eachTime runs f with alice logged in to each of these servers.
func eachTime(t *testing.T, f func(t *testing.T, r *sessiontest.Rig, blind bool)) {
	t.Helper()
	for _, tc := range timeOptions {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			tc.o.InMemory = true
			r := sessiontest.New(t, &tc.o, nil)
			r.Login(t)
			f(t, r, tc.blind)
		})
	}
}

// Half a day of requests, each two minutes: all succeed, no token costs more than one
// rejection, and none more than one refresh.
func TestTimeOfServers(t *testing.T) {
	eachTime(t, func(t *testing.T, r *sessiontest.Rig, blind bool) {
		const hours = 12
		for range hours * 30 {
			r.WantGet(t, 200)
			time.Sleep(2 * time.Minute)
		}
		c := r.Server.Counters()
		if c.Refreshes < hours*60/17 || c.Refreshes > hours*6 {
			t.Errorf("%d refreshes in %d hours", c.Refreshes, hours)
		}
		if c.Unauthorized > c.Refreshes || !blind && c.Unauthorized != 0 {
			t.Errorf("%d rejections for %d tokens", c.Unauthorized, c.Refreshes)
		}
		if c.Reuses != 0 {
			t.Errorf("%d reuses", c.Reuses)
		}
	})
}

// The clock of the server is set while it runs: that costs one rejection or one
// refresh, not one for each request.
func TestTimeJumps(t *testing.T) {
	eachTime(t, func(t *testing.T, r *sessiontest.Rig, _ bool) {
		for i, jump := range []time.Duration{time.Hour, -time.Hour, -time.Hour, 2 * time.Hour, 30 * 24 * time.Hour / 2} {
			r.WantGet(t, 200)
			before := r.Server.Counters()
			r.Server.Set(func(o *tokentest.Options) { o.ClockSkew += jump })
			for range 20 {
				r.WantGet(t, 200)
				time.Sleep(time.Second)
			}
			c := r.Server.Counters()
			if c.Unauthorized-before.Unauthorized > 1 || c.Refreshes-before.Refreshes > 1 {
				t.Errorf("jump %d: %d rejections, %d refreshes", i, c.Unauthorized-before.Unauthorized, c.Refreshes-before.Refreshes)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A 401 is believed over the clock: a token that should be good for hours yet is
// refreshed.
func TestTimeRejectionCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true, AccessLifetime: time.Hour}, nil)
		token := r.Server.Issue("alice")
		token.Expiry = token.Issued.Add(1000 * time.Hour) // it is wrong
		r.Give(t, token)
		time.Sleep(2 * time.Hour)
		for range 10 {
			r.WantGet(t, 200)
		}
		if c := r.Server.Counters(); c.Unauthorized != 1 || c.Refreshes != 1 {
			t.Errorf("%+v, want one rejection and one refresh", c)
		}
	})
}

// expiring answers refreshes with pairs whose expires_in is the JSON value v.
func expiring(v string, refreshes *atomic.Int64) tokenclient.RefresherFunc {
	return func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		n := refreshes.Add(1)
		body := fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%[1]d","expires_in":%s}`, n, v)
		if v == "" {
			body = fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%[1]d"}`, n)
		}
		return tokenclient.ParseToken(json.RawMessage(body), time.Now(), nil)
	}
}

func TestTimeOfOddLifetimes(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, tc := range []struct {
		expiresIn   string
		want        time.Duration // 0: unknown
		least, most int64         // refreshes in an hour with a request each second
	}{
		{"900", 15 * time.Minute, 4, 6},
		{`"900"`, 15 * time.Minute, 4, 6},
		{"900.5", 15 * time.Minute, 4, 6},
		{"0", 0, 0, 0},
		{"-900", 0, 0, 0},
		{"", 0, 0, 0},
		{"null", 0, 0, 0},
		{`"soon"`, 0, 0, 0},
		{"315360000", 10 * year, 0, 0},
		{"1e300", 100 * year, 0, 0},
		{"3", 3 * time.Second, 1100, 1801}, // shorter than any margin
		{"1", time.Second, 1700, 3601},
	} {
		sessiontest.Bubble(t, tc.expiresIn, func(t *testing.T) {
			var refreshes atomic.Int64 // an early one may be running at the end
			s, err := tokenclient.New(tokenclient.Config{Refresher: expiring(tc.expiresIn, &refreshes), Origins: []string{sessiontest.FakeAPI}})
			if err != nil {
				t.Fatal(err)
			}
			defer sessiontest.Close(t, s)
			if err := s.SetToken(t.Context(), sessiontest.Pair("a0", "r0", 0)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			now, err := s.Refresh(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tc.want == 0 && !now.Expiry.IsZero():
				t.Errorf("expiry %v, want none", now.Expiry)
			case tc.want != 0 && !now.Expiry.Equal(began.Add(tc.want)):
				t.Errorf("lifetime %v, want %v", now.Expiry.Sub(began), tc.want)
			}
			refreshes.Store(0)
			for range 3600 {
				now, err := s.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if !now.Expiry.IsZero() && !now.Expiry.After(time.Now()) {
					t.Fatalf("a token that expired %v ago was handed out", time.Since(now.Expiry))
				}
				time.Sleep(time.Second)
			}
			if n := refreshes.Load(); n < tc.least || n > tc.most {
				t.Errorf("%d refreshes in an hour, want %d to %d", n, tc.least, tc.most)
			}
		})
	}
}

// A token that has expired when it comes is not expired: the server has just made
// it. Something is wrong with a clock, and only a rejection tells.
func TestTimeDeadOnArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refreshes int
		r := sessiontest.NewFake(t, func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			refreshes++
			return sessiontest.Pair("a", "r", -time.Hour), nil
		}, sessiontest.AlwaysOK, nil)
		r.Give(t, sessiontest.Pair("a", "r", time.Minute))
		time.Sleep(time.Hour)
		for range 100 {
			r.WantGet(t, 200)
			time.Sleep(time.Second)
		}
		if refreshes != 1 {
			t.Errorf("%d refreshes for 100 requests, want 1", refreshes)
		}
	})
}

// What the login says is odd: the session works, and learns from the rejection.
func TestTimeOfOddLogins(t *testing.T) {
	for name, change := range map[string]func(*tokenclient.Token){
		"expired when it came":   func(t *tokenclient.Token) { t.Expiry = time.Now().Add(-time.Hour) },
		"expiry before issued":   func(t *tokenclient.Token) { t.Issued, t.Expiry = t.Expiry, t.Issued },
		"issued in the future":   func(t *tokenclient.Token) { t.Issued = time.Now().Add(time.Hour) },
		"issued in 1970":         func(t *tokenclient.Token) { t.Issued = time.Unix(1, 0) },
		"no issued":              func(t *tokenclient.Token) { t.Issued = time.Time{} },
		"no expiry":              func(t *tokenclient.Token) { t.Expiry = time.Time{} },
		"no expiry and issued":   func(t *tokenclient.Token) { t.Expiry, t.Issued = time.Time{}, time.Time{} },
		"expiry in 9999":         func(t *tokenclient.Token) { t.Expiry = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) },
		"expiry in another zone": func(t *tokenclient.Token) { t.Expiry = t.Expiry.In(time.FixedZone("", 14*3600)) },
	} {
		for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
			sessiontest.Bubble(t, fmt.Sprintf("%s, server %v ahead", name, skew), func(t *testing.T) {
				r := sessiontest.New(t, &tokentest.Options{InMemory: true, ClockSkew: skew}, nil)
				token := r.Server.Issue("alice")
				change(token)
				r.Give(t, token)
				for range 60 {
					r.WantGet(t, 200)
					time.Sleep(time.Minute)
				}
				if c := r.Server.Counters(); c.Unauthorized > 1 || c.Refreshes < 3 || c.Refreshes > 6 {
					t.Errorf("%+v in an hour", c)
				}
			})
		}
	}
}

// The stored expiry survives a restart, however long the machine was off.
func TestTimeOverRestart(t *testing.T) {
	for _, off := range []time.Duration{0, time.Minute, 14 * time.Minute, time.Hour, 29 * 24 * time.Hour} {
		for _, kind := range []string{"memory", "file"} {
			t.Run(fmt.Sprintf("%s, off for %v", kind, off), func(t *testing.T) {
				dir := t.TempDir() + "/tokens"
				synctest.Test(t, func(t *testing.T) {
					memory := new(store.Memory)
					open := func(c *tokenclient.Config, _ *tokentest.Server) {
						c.Store, c.Key = memory, "alice"
						if kind == "file" {
							file, err := store.NewFile(dir, store.Plaintext())
							if err != nil {
								t.Fatal(err)
							}
							c.Store = file
						}
					}
					r := sessiontest.New(t, &tokentest.Options{InMemory: true, Opaque: true}, open)
					r.Login(t)
					r.WantGet(t, 200)
					before, err := r.Session.Peek(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					sessiontest.Close(t, r.Session)
					time.Sleep(off)

					next := r.Another(t, open)
					after, err := next.Session.Peek(t.Context())
					if err != nil || !after.Expiry.Equal(before.Expiry) || !after.Issued.Equal(before.Issued) {
						t.Fatalf("token %v, error %v; want the expiry of %v", after, err, before)
					}
					for range 10 {
						next.WantGet(t, 200)
					}
					synctest.Wait()
					c := r.Server.Counters()
					if c.Unauthorized != 0 || c.Refreshes > 1 || off > 13*time.Minute && c.Refreshes != 1 {
						t.Errorf("%+v", c)
					}
				})
			})
		}
	}
}
