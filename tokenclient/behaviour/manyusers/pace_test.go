package manyusers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// secondsOf counts what happens in each second.
type secondsOf struct {
	mu    sync.Mutex
	began time.Time
	at    map[int]int
	users map[string]int
}

func newSeconds() *secondsOf {
	return &secondsOf{began: time.Now(), at: map[int]int{}, users: map[string]int{}}
}

func (c *secondsOf) count(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[int(time.Since(c.began)/time.Second)]++
	c.users[user]++
}

// spread returns the busiest second and the mean of those from the first to the last.
func (c *secondsOf) spread() (most int, mean float64, seconds int) {
	first, last, all := -1, 0, 0
	for s, n := range c.at {
		if first < 0 || s < first {
			first = s
		}
		last, most, all = max(last, s), max(most, n), all+n
	}
	seconds = last - first + 1
	return most, float64(all) / float64(seconds), seconds
}

// wantEven fails the test if the busiest second has more than 1.5 times the mean. It
// takes some thousand users to tell that from chance.
func wantEven(t *testing.T, most int, mean float64) {
	t.Helper()
	if float64(most) > 1.5*mean {
		t.Errorf("%d refreshes in the busiest second, %.1f on the average", most, mean)
	}
}

// TestPoolPace: the tokens of all users expire in the same minute, and the token endpoint
// sees an even rate: the busiest second at most 1.5 times the mean. Each user's token is
// refreshed once, and no request fails or waits.
func TestPoolPace(t *testing.T) {
	users := 100_000
	if testing.Short() || sessiontest.Race {
		users /= 5
	}
	const lifetime = time.Hour
	for name, keep := range map[string]bool{"by KeepFresh": true, "by requests": false} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			seconds := newSeconds()
			issued := time.Now()
			store := &sessiontest.PoolStore{Known: func(key string) *tokenclient.Token {
				t := sessiontest.Pair("access-"+key, "refresh-"+key, 0)
				t.Issued = issued
				t.Expiry = issued.Add(lifetime + rand.N(time.Minute))
				return t
			}}
			p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: store, MaxIdle: users, IdleFor: 24 * time.Hour},
				func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
					user := strings.TrimPrefix(old.RefreshToken, "refresh-")
					seconds.count(user)
					time.Sleep(30 * time.Millisecond)
					return sessiontest.Pair("access2-"+user, "refresh-"+user, 24*time.Hour), nil
				})
			for i := range users {
				if _, err := p.Session(t.Context(), sessiontest.PoolUser(i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(lifetime - 10*time.Minute) // nobody's soft window begins as early
			if keep {
				sessiontest.KeepFresh(t, p, 12*time.Minute)
			} else {
				requests(t, p, users, 30*time.Second, 12*time.Minute)
			}
			synctest.Wait()
			most, mean, in := seconds.spread()
			t.Logf("%d users: %.0f a second on the average over %d s, %d in the busiest: %.2f times", users, mean, in, most, float64(most)/mean)
			wantEven(t, most, mean)
			if len(seconds.users) != users {
				t.Errorf("%d of %d users were refreshed", len(seconds.users), users)
			}
			for user, times := range seconds.users {
				if times != 1 {
					t.Fatalf("%s was refreshed %d times", user, times)
				}
			}
			if s := p.Stats(); s.Waiting != 0 || s.Refreshing != 0 {
				t.Errorf("%+v, want nothing under way", s)
			}
		})
	}
}

// requests has each of n users send a request every so often, for as long, and checks
// that none fails or waits.
func requests(t *testing.T, p *tokenclient.Pool, n int, every, long time.Duration) {
	t.Helper()
	const tick = 100 * time.Millisecond
	now := make([][]int, every/tick) // users by the tick in which they send
	for i := range n {
		s := rand.IntN(len(now))
		now[s] = append(now[s], i)
	}
	rt := p.Transport(sessiontest.AlwaysOK)
	began := time.Now()
	for n := 0; time.Since(began) < long; n++ {
		sent := time.Now()
		for _, i := range now[n%len(now)] {
			req, err := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), sessiontest.PoolUser(i)), http.MethodGet, sessiontest.FakeAPI, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(fmt.Errorf("%s: %w", sessiontest.PoolUser(i), err))
			}
		}
		if waited := time.Since(sent); waited > 0 {
			t.Fatalf("a request waited %v", waited)
		}
		time.Sleep(tick)
	}
}
