package behaviour_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPoolLine: no more refreshes than may be are made at the same time, in the order
// in which they came, and who waits longer than RefreshTimeout is refreshed as well.
func TestPoolLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users, most, took = 100, 4, 10 * time.Second
		var mu sync.Mutex
		var order []string
		now, peak := 0, 0
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: expired}, MaxRefreshes: most},
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
		askers := newAskers(t, p)
		began := time.Now()
		for i := range users {
			askers.ask(sessiontest.PoolUser(i))
			synctest.Wait()
		}
		if s := p.Stats(); s.Refreshing != most || s.Waiting != users-most {
			t.Errorf("%+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sessiontest.WantErr(t, "a request that cannot wait", sessiontest.Ask(ctx, askers.client, sessiontest.PoolUser(users-1)), context.DeadlineExceeded)
		askers.Wait()
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

// TestPoolTooManyOfOne: a limit that is only one user's keeps the others waiting for
// some seconds, and those of another endpoint not at all.
func TestPoolTooManyOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, 200)
			body := `{"access_token":"new","expires_in":3600}`
			if req.URL.Path == "/greedy" {
				resp.StatusCode, body = 429, ""
				resp.Header.Set("Retry-After", "600")
			}
			resp.Body = http.NoBody
			if body != "" {
				resp.Body = sessiontest.NewBody(body)
			}
			return resp, nil
		}
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: &sessiontest.PoolStore{Known: expired},
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				host := "https://one.example.com/"
				if key == "elsewhere" {
					host = "https://two.example.com/"
				}
				return tokenclient.Config{
					Refresher: &tokenclient.JSONRefresher{TokenURL: host + key, HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(tokens)}},
					Origins:   []string{sessiontest.FakeAPI},
				}, nil
			},
		}, nil)
		client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
		sessiontest.WantTransient(t, "greedy", sessiontest.Ask(t.Context(), client, "greedy"))
		for _, c := range []struct {
			key  string
			wait time.Duration
		}{{"elsewhere", 0}, {"alice", 5 * time.Second}, {"bob", 0}} {
			began := time.Now()
			if err := sessiontest.Ask(t.Context(), client, c.key); err != nil {
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
		p = sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: expired}, MaxRefreshes: 2},
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
		askers := newAskers(t, p)
		began := time.Now()
		for i := range 10 {
			askers.ask(sessiontest.PoolUser(i))
		}
		askers.Wait()
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
		hold := sessiontest.NewBarrier()
		holding := &stuckStore{Store: new(store.Memory), hold: hold}
		for i := range stuck + 1 {
			if _, _, err := holding.Replace(t.Context(), sessiontest.PoolUser(i), expired(sessiontest.PoolUser(i))); err != nil {
				t.Fatal(err)
			}
		}
		var announced []int
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: holding, MaxRefreshes: stuck,
		}, func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			time.Sleep(time.Second)
			return fresh(old), nil
		})
		askers := newAskers(t, p)
		for i := range stuck {
			askers.ask(sessiontest.PoolUser(i))
		}
		synctest.Wait()
		began := time.Now()
		holding.free.Store(sessiontest.PoolUser(stuck), true)
		if err := sessiontest.Ask(t.Context(), askers.client, sessiontest.PoolUser(stuck)); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d != 2*time.Second { // one until a turn is free, one for the refresh
			t.Errorf("a refresh whose key is free took %v", d)
		}
		time.Sleep(10 * time.Second)
		hold.Lift()
		askers.Wait()
		for i := range stuck + 1 {
			r, err := holding.Load(t.Context(), sessiontest.PoolUser(i))
			if err != nil || r.Token.AccessToken != "new-"+sessiontest.PoolUser(i) {
				t.Errorf("%s: %v, error %v", sessiontest.PoolUser(i), r.Token, err)
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
		hold := sessiontest.NewBarrier()
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
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: holding, MaxRefreshes: 1},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				mu.Lock()
				order = append(order, userOf(old))
				mu.Unlock()
				time.Sleep(15 * time.Second)
				return fresh(old), nil
			})
		askers := newAskers(t, p)
		for _, key := range []string{"late", "slow", "last"} {
			askers.ask(key)
			time.Sleep(2 * time.Second) // by when late has lost its turn to slow
		}
		hold.Lift()
		synctest.Wait()
		if r, err := holding.Load(t.Context(), "late"); err != nil || r.Announced != 0 {
			t.Errorf("a refresh that lost its turn: announced %d, error %v", r.Announced, err)
		}
		askers.Wait()
		if want := []string{"slow", "late", "last"}; !slices.Equal(order, want) {
			t.Errorf("refreshed %v, want %v", order, want)
		}
	})
}

// stuckStore keeps all keys but the free ones from being refreshed until hold is
// lifted.
type stuckStore struct {
	tokenclient.Store
	hold *sessiontest.Barrier
	free sync.Map
}

func (s *stuckStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	if _, ok := s.free.Load(key); !ok {
		s.hold.Stop()
	}
	return s.Store.Refresh(ctx, key, seen, timeout, fn)
}

// TestPoolLostAnswerFirst: the second try after a lost answer comes at once, however
// long the line is: servers take the old token again for some seconds only.
func TestPoolLostAnswerFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 100
		var mu sync.Mutex
		first := map[string]time.Time{}
		var gap time.Duration
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: new(store.Memory), MaxRefreshes: 1},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if userOf(old) == sessiontest.PoolUser(0) {
					if first[sessiontest.PoolUser(0)].IsZero() {
						first[sessiontest.PoolUser(0)] = time.Now()
						return nil, io.ErrUnexpectedEOF // the server has rotated; the answer was lost
					}
					gap = time.Since(first[sessiontest.PoolUser(0)])
				}
				return fresh(old), nil
			})
		for i := range users {
			if err := sessionOf(t, p, sessiontest.PoolUser(i)).SetToken(t.Context(), expired(sessiontest.PoolUser(i))); err != nil {
				t.Fatal(err)
			}
		}
		askers := newAskers(t, p)
		for i := range users {
			askers.ask(sessiontest.PoolUser(i))
			synctest.Wait()
		}
		askers.Wait()
		if gap > 5*time.Second {
			t.Errorf("the second try, which is to come at once, came %v after the first", gap)
		}
	})
}

// ownRefresher is a Refresher without Endpoints; each user has one.
type ownRefresher struct{ took time.Duration }

func (r *ownRefresher) Refresh(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	time.Sleep(r.took)
	return fresh(old), nil
}

// TestPoolFunctionHangs: a RefresherFunc that hangs, or whose server refuses for rate, keeps
// nobody waiting whose Refresher is another one, and those of its own as MaxRefreshes says.
func TestPoolFunctionHangs(t *testing.T) {
	const took = time.Second
	for name, bad := range map[string]func(*sessiontest.Barrier) error{
		"hangs": func(hold *sessiontest.Barrier) error { hold.Stop(); return io.ErrUnexpectedEOF },
		"asks to wait": func(*sessiontest.Barrier) error {
			return &tokenclient.TokenError{StatusCode: 429, RetryAfter: time.Minute}
		},
		"does not work": func(*sessiontest.Barrier) error { return &tokenclient.TokenError{StatusCode: 503} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := sessiontest.NewBarrier()
				defer hold.Lift()
				function := func(string) tokenclient.RefresherFunc { // another closure for each user
					return func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
						time.Sleep(took)
						return fresh(old), nil
					}
				}
				refreshers := map[byte]func(key string) tokenclient.Refresher{
					'b': func(string) tokenclient.Refresher {
						return tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
							return nil, bad(hold)
						})
					},
					'f': func(key string) tokenclient.Refresher { return function(key) },
					't': func(string) tokenclient.Refresher { return &ownRefresher{took} },
				}
				p := sessiontest.NewPool(t, tokenclient.PoolConfig{
					Store: &sessiontest.PoolStore{Known: expired}, MaxRefreshes: 1,
					Config: func(_ context.Context, key string) (tokenclient.Config, error) {
						return tokenclient.Config{Refresher: refreshers[key[0]](key), Origins: []string{sessiontest.FakeAPI}}, nil
					},
				}, nil)
				client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
				for _, key := range []string{"bad 1", "bad 2"} {
					go func() { _ = sessiontest.Ask(t.Context(), client, key) }()
				}
				synctest.Wait()
				for _, kind := range []string{"function", "type"} {
					began := time.Now()
					askers := newAskers(t, p)
					askers.ask(kind + " 1")
					askers.ask(kind + " 2")
					askers.Wait()
					if d := time.Since(began); d != 2*took {
						t.Errorf("%s: two users waited %v, want %v: one after the other, and behind nobody else", kind, d, 2*took)
					}
				}
			})
		})
	}
}
