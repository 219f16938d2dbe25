package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// poolStore is a Store in memory without the protocol between processes, for tests
// with very many users.
type poolStore struct {
	shards [64]struct {
		sync.Mutex
		records map[string]tokenclient.Record
	}
	known func(key string) *tokenclient.Token // of keys that were never written; nil: there are none
	loads atomic.Int64
	fail  atomic.Bool // Load fails
}

func (s *poolStore) at(key string) *struct {
	sync.Mutex
	records map[string]tokenclient.Record
} {
	var sum uint
	for i := range len(key) {
		sum = sum*31 + uint(key[i])
	}
	return &s.shards[sum%uint(len(s.shards))]
}

func (s *poolStore) Load(_ context.Context, key string) (tokenclient.Record, error) {
	s.loads.Add(1)
	if s.fail.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	at := s.at(key)
	at.Lock()
	defer at.Unlock()
	r, ok := at.records[key]
	if !ok && s.known != nil {
		if t := s.known(key); t != nil {
			r = tokenclient.Record{State: tokenclient.Active, Token: t, Number: 1, Era: [16]byte{1}}
		}
	}
	if r.State != tokenclient.Active {
		return r, tokenclient.ErrNoToken
	}
	r.Token = r.Token.Clone()
	return r, nil
}

func (s *poolStore) write(key string, r tokenclient.Record) {
	at := s.at(key)
	at.Lock()
	defer at.Unlock()
	if at.records == nil {
		at.records = make(map[string]tokenclient.Record)
	}
	at.records[key] = r
}

var poolEras atomic.Uint64

func (s *poolStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	was, err = s.Load(ctx, key)
	if err != nil && !errors.Is(err, tokenclient.ErrNoToken) {
		return now, was, err
	}
	now = tokenclient.Record{State: tokenclient.LoggedOut, Number: 1}
	if t != nil {
		now.State, now.Token = tokenclient.Active, t.Clone()
	}
	n := poolEras.Add(1)
	now.Era = [16]byte{2, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	s.write(key, now)
	return now, was, nil
}

func (s *poolStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	r, err := s.Load(ctx, key)
	if err != nil || r.Era != seen.Era || r.Number > seen.Number {
		return r, err
	}
	r.Announced = 1
	t, err := fn(context.WithoutCancel(ctx), r)
	if err != nil {
		return r, err
	}
	r = tokenclient.Record{State: tokenclient.Active, Token: t, Era: r.Era, Number: r.Number + 1}
	s.write(key, r)
	return r, nil
}

func (s *poolStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	r, err := s.Load(ctx, key)
	switch {
	case err != nil:
		return r, err
	case r.Era != seen.Era:
		return r, tokenclient.ErrReplaced
	case r.Number > seen.Number:
		return r, tokenclient.ErrOvertaken
	}
	r = tokenclient.Record{State: tokenclient.Active, Token: t, Era: r.Era, Number: r.Number + 1}
	s.write(key, r)
	return r, nil
}

// newPool makes a Pool that is closed at the end of the test. c.Config is that of
// all keys, with refresh as the Refresher, unless it is set.
func newPool(t testing.TB, c tokenclient.PoolConfig, refresh tokenclient.RefresherFunc) *tokenclient.Pool {
	t.Helper()
	if c.Config == nil {
		c.Config = func(context.Context, string) (tokenclient.Config, error) {
			return tokenclient.Config{Refresher: refresh, Origins: []string{fakeAPI}}, nil
		}
	}
	p, err := tokenclient.NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// noRefresh is a Refresher that is not to be called.
func noRefresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	return nil, errors.New("a refresh that nobody needs")
}

// everybody is the token of any key in a poolStore, good for an hour.
func everybody(key string) *tokenclient.Token { return pair("access-"+key, "refresh-"+key, time.Hour) }

func poolUser(i int) string { return fmt.Sprintf("user-%07d", i) }

// ask sends a request of key's.
func ask(ctx context.Context, client *http.Client, key string) error {
	req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, key), http.MethodGet, fakeAPI+"/things", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// ownAPI answers 200 if a request carries the token of its own key, and 401 if not.
func ownAPI(req *http.Request) (*http.Response, error) { return reply(req, http.StatusOK), nil }
