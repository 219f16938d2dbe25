package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// expired is a token that has expired, so that who sends a request has to wait for a
// refresh.
func expired(key string) *tokenclient.Token {
	t := pair("access-"+key, "refresh-"+key, time.Hour)
	t.Issued, t.Expiry = t.Issued.Add(-2*time.Hour), t.Expiry.Add(-2*time.Hour)
	return t
}

// userOf is whose refresh token old is.
func userOf(old *tokenclient.Token) string { return strings.TrimPrefix(old.RefreshToken, "refresh-") }

func fresh(old *tokenclient.Token) *tokenclient.Token {
	return pair("new-"+userOf(old), old.RefreshToken, time.Hour)
}

// TestPoolLine: no more refreshes than may be are made at the same time, in the order
// in which they came, and who waits longer than RefreshTimeout is refreshed as well.
func TestPoolLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users, most, took = 100, 4, 10 * time.Second
		var mu sync.Mutex
		var order []string
		now, peak := 0, 0
		p := newPool(t, tokenclient.PoolConfig{Store: &poolStore{known: expired}, MaxRefreshes: most},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				mu.Lock()
				order = append(order, userOf(old))
				now++
				peak = max(peak, now)
				mu.Unlock()
				time.Sleep(took)
				mu.Lock()
				now--
				mu.Unlock()
				return fresh(old), nil
			})
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				if err := ask(t.Context(), client, poolUser(i)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if s := p.Stats(); s.Refreshing != most || s.Waiting != users-most {
			t.Errorf("%+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, "a request that cannot wait", ask(ctx, client, poolUser(users-1)), context.DeadlineExceeded)
		wg.Wait()
		if peak != most {
			t.Errorf("%d refreshes at the same time, want %d", peak, most)
		}
		if d := time.Since(began); d != users/most*took {
			t.Errorf("it took %v, want %v", d, users/most*took)
		}
		// Those that begin at the same instant have no order among each other.
		for i := 0; i < users; i += most {
			slices.Sort(order[i : i+most])
		}
		if !slices.IsSorted(order) {
			t.Errorf("not in the order in which they came: %v", order)
		}
	})
}

// TestPoolTooMany: a token endpoint that answers 429 is left alone by all users, none
// of whom fails but the one who got it.
func TestPoolTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		open := began.Add(20 * time.Second) // for so long the endpoint refuses all
		var mu sync.Mutex
		var at []time.Duration
		p := newPool(t, tokenclient.PoolConfig{Store: &poolStore{known: expired}},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(began))
				if wait := time.Until(open); wait > 0 {
					return nil, &tokenclient.TokenError{StatusCode: 429, RetryAfter: wait}
				}
				return fresh(old), nil
			})
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		err := ask(t.Context(), client, "first")
		wantTransient(t, "the first", err)
		var wg sync.WaitGroup
		failed := 0
		for i := range 100 {
			wg.Go(func() {
				if err := ask(t.Context(), client, poolUser(i)); err != nil {
					wantTransient(t, "another", err)
					mu.Lock()
					failed++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		// After 5 s somebody tries, then after 10 s more, and then after 20 s.
		if failed != 2 {
			t.Errorf("%d of 100 others failed, want the two who tried for all", failed)
		}
		for i, want := range []time.Duration{0, 5 * time.Second, 15 * time.Second, 20 * time.Second} {
			if at[i] != want {
				t.Errorf("presentation %d after %v, want %v", i, at[i], want)
			}
		}
	})
}

// TestPoolTooManyOfOne: a limit that is only one user's keeps the others waiting for
// some seconds, and those of another endpoint not at all.
func TestPoolTooManyOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := func(req *http.Request) (*http.Response, error) {
			resp := reply(req, 200)
			body := `{"access_token":"new","expires_in":3600}`
			if req.URL.Path == "/greedy" {
				resp.StatusCode, body = 429, ""
				resp.Header.Set("Retry-After", "600")
			}
			resp.Body = http.NoBody
			if body != "" {
				resp.Body = &closeNote{Reader: strings.NewReader(body)}
			}
			return resp, nil
		}
		p := newPool(t, tokenclient.PoolConfig{
			Store: &poolStore{known: expired},
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				host := "https://one.example.com/"
				if key == "elsewhere" {
					host = "https://two.example.com/"
				}
				return tokenclient.Config{
					Refresher: &tokenclient.JSONRefresher{URL: host + key, HTTPClient: &http.Client{Transport: roundTrip(tokens)}},
					Origins:   []string{fakeAPI},
				}, nil
			},
		}, nil)
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		wantTransient(t, "greedy", ask(t.Context(), client, "greedy"))
		for _, c := range []struct {
			key  string
			wait time.Duration
		}{{"elsewhere", 0}, {"alice", 5 * time.Second}, {"bob", 0}} {
			began := time.Now()
			if err := ask(t.Context(), client, c.key); err != nil {
				t.Errorf("%s: %v", c.key, err)
			}
			if d := time.Since(began); d != c.wait {
				t.Errorf("%s waited %v, want %v", c.key, d, c.wait)
			}
		}
	})
}

// TestPoolNested: Refreshers that need another user of the same Pool do not wait for
// ever for a turn that they have themselves.
func TestPoolNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *tokenclient.Pool
		p = newPool(t, tokenclient.PoolConfig{Store: &poolStore{known: expired}, MaxRefreshes: 2},
			func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				time.Sleep(time.Second)
				if userOf(old) == "service" {
					return fresh(old), nil
				}
				s, err := p.Session(ctx, "service")
				if err != nil {
					return nil, err
				}
				if _, err := s.Token(ctx); err != nil {
					return nil, err
				}
				return fresh(old), nil
			})
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if err := ask(t.Context(), client, poolUser(i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(began); d != 6*time.Second {
			t.Errorf("it took %v, want 6s", d)
		}
	})
}

// TestPoolHeldElsewhere: sessions that wait for the Store's hold on their keys, which
// other processes have, keep nobody from refreshing, and are refreshed in the end.
func TestPoolHeldElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stuck = 4
		hold := newBarrier()
		holding := &stuckStore{Store: new(store.Memory), hold: hold}
		for i := range stuck + 1 {
			if _, _, err := holding.Replace(t.Context(), poolUser(i), expired(poolUser(i))); err != nil {
				t.Fatal(err)
			}
		}
		var announced []int
		p := newPool(t, tokenclient.PoolConfig{
			Store: holding, MaxRefreshes: stuck,
		}, func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			time.Sleep(time.Second)
			return fresh(old), nil
		})
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		var wg sync.WaitGroup
		for i := range stuck {
			wg.Go(func() {
				if err := ask(t.Context(), client, poolUser(i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		holding.free.Store(poolUser(stuck), true)
		if err := ask(t.Context(), client, poolUser(stuck)); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d != 2*time.Second { // one until a turn is free, one for the refresh
			t.Errorf("a refresh whose key is free took %v", d)
		}
		time.Sleep(10 * time.Second)
		hold.lift()
		wg.Wait()
		for i := range stuck + 1 {
			r, err := holding.Load(t.Context(), poolUser(i))
			if err != nil || r.Token.AccessToken != "new-"+poolUser(i) {
				t.Errorf("%s: %v, error %v", poolUser(i), r.Token, err)
			}
			announced = append(announced, r.Announced)
		}
		if !slices.Equal(announced, make([]int, stuck+1)) {
			t.Errorf("announced %v", announced)
		}
	})
}

// TestPoolTurnLost: a session whose turn was over when it got the hold, and all turns
// taken, takes its announcement back and is refreshed next.
func TestPoolTurnLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := newBarrier()
		holding := &stuckStore{Store: new(store.Memory), hold: hold}
		for _, key := range []string{"late", "slow", "last"} {
			if _, _, err := holding.Replace(t.Context(), key, expired(key)); err != nil {
				t.Fatal(err)
			}
		}
		holding.free.Store("slow", true)
		holding.free.Store("last", true)
		var mu sync.Mutex
		var order []string
		p := newPool(t, tokenclient.PoolConfig{Store: holding, MaxRefreshes: 1},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				mu.Lock()
				order = append(order, userOf(old))
				mu.Unlock()
				time.Sleep(15 * time.Second)
				return fresh(old), nil
			})
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		var wg sync.WaitGroup
		for _, key := range []string{"late", "slow", "last"} {
			wg.Go(func() {
				if err := ask(t.Context(), client, key); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(2 * time.Second) // by when late has lost its turn to slow
		}
		hold.lift()
		synctest.Wait()
		if r, err := holding.Load(t.Context(), "late"); err != nil || r.Announced != 0 {
			t.Errorf("a refresh that lost its turn: announced %d, error %v", r.Announced, err)
		}
		wg.Wait()
		if want := []string{"slow", "late", "last"}; !slices.Equal(order, want) {
			t.Errorf("refreshed %v, want %v", order, want)
		}
	})
}

// stuckStore keeps all keys but the free ones from being refreshed until hold is
// lifted.
type stuckStore struct {
	tokenclient.Store
	hold *barrier
	free sync.Map
}

func (s *stuckStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	if _, ok := s.free.Load(key); !ok {
		s.hold.stop()
	}
	return s.Store.Refresh(ctx, key, seen, timeout, fn)
}

// TestPoolKeepFresh: idle users are left out if that is asked for, a token that cannot
// be refreshed is tried again, and a heartbeat is kept.
func TestPoolKeepFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		times := map[string]int{}
		refresh := tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			mu.Lock()
			defer mu.Unlock()
			times[userOf(old)]++
			if userOf(old) == "unlucky" && times["unlucky"] == 1 {
				return nil, &tokenclient.TokenError{StatusCode: 503, Err: errors.New("busy")}
			}
			return fresh(old), nil
		})
		p := newPool(t, tokenclient.PoolConfig{
			Store: &poolStore{known: everybody}, IdleFor: 24 * time.Hour,
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				c := tokenclient.Config{Refresher: refresh, Origins: []string{fakeAPI}}
				switch key {
				case "alive":
					c.Heartbeat = 10 * time.Minute
				case "sliding":
					c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("X-Token")
				}
				return c, nil
			},
		}, nil)
		for _, key := range []string{"idle", "unlucky", "alive", "sliding"} {
			get(t, p, key)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.KeepFresh(ctx, 0) }()
		time.Sleep(59 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if times["idle"] != 1 || times["unlucky"] < 2 || times["alive"] != 5 || times["sliding"] != 0 {
			t.Errorf("refreshes: %v", times)
		}

		clear(times)
		ctx, cancel = context.WithTimeout(t.Context(), 9*time.Hour)
		defer cancel()
		go func() {
			for range 9 {
				get(t, p, "unlucky")
				time.Sleep(time.Hour)
			}
		}()
		time.Sleep(6 * time.Hour)
		go func() { done <- p.KeepFresh(ctx, 3*time.Hour) }()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if times["idle"] != 0 || times["unlucky"] < 2 {
			t.Errorf("refreshes of those used lately: %v", times)
		}
		if err := p.KeepFresh(t.Context(), -1); err == nil {
			t.Error("a negative time is no error")
		}
	})
}

// TestPoolKeepFreshShort: tokens that live for seconds are kept fresh as well.
func TestPoolKeepFreshShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short := func(key string) *tokenclient.Token { return pair("access", "refresh-"+key, 20*time.Second) }
		p := newPool(t, tokenclient.PoolConfig{Store: &poolStore{known: short}},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				return short(userOf(old)), nil
			})
		s := get(t, p, "alice")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.KeepFresh(ctx, 0) }()
		for range 300 {
			time.Sleep(time.Second)
			if token, err := s.Peek(t.Context()); err != nil || time.Until(token.Expiry) <= 0 {
				t.Fatalf("%v, error %v", token, err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPoolLostAnswerFirst: the second try after a lost answer comes at once, however
// long the line is: servers take the old token again for some seconds only.
func TestPoolLostAnswerFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 100
		var mu sync.Mutex
		first := map[string]time.Time{}
		var gap time.Duration
		p := newPool(t, tokenclient.PoolConfig{Store: new(store.Memory), MaxRefreshes: 1},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if userOf(old) == poolUser(0) {
					if first[poolUser(0)].IsZero() {
						first[poolUser(0)] = time.Now()
						return nil, io.ErrUnexpectedEOF // the server has rotated; the answer was lost
					}
					gap = time.Since(first[poolUser(0)])
				}
				return fresh(old), nil
			})
		for i := range users {
			if err := get(t, p, poolUser(i)).SetToken(t.Context(), expired(poolUser(i))); err != nil {
				t.Fatal(err)
			}
		}
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				if err := ask(t.Context(), client, poolUser(i)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if gap > 5*time.Second {
			t.Errorf("the second try, which is to come at once, came %v after the first", gap)
		}
	})
}

// TestPoolOutage: the more refreshes a token endpoint fails, the fewer it gets at a
// time; when it is back all get through.
func TestPoolOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users, outage = 500, 10 * time.Second
		back := time.Now().Add(outage)
		var failed atomic.Int32
		p := newPool(t, tokenclient.PoolConfig{Store: new(store.Memory)},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				time.Sleep(20 * time.Millisecond)
				if time.Now().Before(back) {
					failed.Add(1)
					return nil, &tokenclient.TokenError{StatusCode: 503, Err: errors.New("down")}
				}
				return fresh(old), nil
			})
		for i := range users {
			if err := get(t, p, poolUser(i)).SetToken(t.Context(), expired(poolUser(i))); err != nil {
				t.Fatal(err)
			}
		}
		client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				for ask(t.Context(), client, poolUser(i)) != nil {
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		if n, most := failed.Load(), int32(2*outage/(20*time.Millisecond)); n > most {
			t.Errorf("%d calls failed in %v, want at most %d: one at a time after the first", n, outage, most)
		}
		if took := time.Since(back); took > 30*time.Second {
			t.Errorf("it took %v to serve all after the outage", took)
		}
	})
}

// slowStore takes a while to write an announcement.
type slowStore struct {
	tokenclient.Store
	takes time.Duration
}

func (s *slowStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	return s.Store.Refresh(ctx, key, seen, timeout, func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
		time.Sleep(s.takes)
		return fn(ctx, current)
	})
}

// TestPoolSlowStore: a store that takes longer than a turn has patience for makes
// refreshes slow, and does not stop them.
func TestPoolSlowStore(t *testing.T) {
	for _, takes := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond, 5 * time.Second} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const users = 300
				p := newPool(t, tokenclient.PoolConfig{Store: &slowStore{new(store.Memory), takes}},
					func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						time.Sleep(50 * time.Millisecond)
						return fresh(old), nil
					})
				for i := range users {
					if err := get(t, p, poolUser(i)).SetToken(t.Context(), expired(poolUser(i))); err != nil {
						t.Fatal(err)
					}
				}
				client := p.Wrap(&http.Client{Transport: roundTrip(ownAPI)})
				began := time.Now()
				var wg sync.WaitGroup
				for i := range users {
					wg.Go(func() {
						if err := ask(t.Context(), client, poolUser(i)); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				// 32 at a time, each after a turn or two that were lost.
				if took, most := time.Since(began), 4*time.Duration(users/32+1)*(takes+time.Second); took > most {
					t.Errorf("it took %v, want at most %v", took, most)
				}
			})
		})
	}
}
