package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// PoolStore is a Store in memory without the protocol between processes, for tests
// with very many users.
type PoolStore struct {
	Known func(key string) *tokenclient.Token // of keys that were never written; nil: there are none
	Loads atomic.Int64
	Fail  atomic.Bool // Load fails

	eras   atomic.Uint64
	shards [64]shard
}

type shard struct {
	sync.Mutex
	records map[string]tokenclient.Record
}

func (s *PoolStore) at(key string) *shard {
	var sum uint
	for i := range len(key) {
		sum = sum*31 + uint(key[i])
	}
	return &s.shards[sum%uint(len(s.shards))]
}

// Load implements tokenclient.Store.
func (s *PoolStore) Load(_ context.Context, key string) (tokenclient.Record, error) {
	s.Loads.Add(1)
	if s.Fail.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	at := s.at(key)
	at.Lock()
	defer at.Unlock()
	r, ok := at.records[key]
	if !ok && s.Known != nil {
		if t := s.Known(key); t != nil {
			r = tokenclient.Record{State: tokenclient.Active, Token: t, Number: 1, Era: [16]byte{1}}
		}
	}
	if r.State != tokenclient.Active {
		return r, tokenclient.ErrNoToken
	}
	r.Token = r.Token.Clone()
	return r, nil
}

func (s *PoolStore) write(key string, r tokenclient.Record) {
	at := s.at(key)
	at.Lock()
	defer at.Unlock()
	if at.records == nil {
		at.records = make(map[string]tokenclient.Record)
	}
	at.records[key] = r
}

// Replace implements tokenclient.Store.
func (s *PoolStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	was, err = s.Load(ctx, key)
	if err != nil && !errors.Is(err, tokenclient.ErrNoToken) {
		return now, was, err
	}
	now = tokenclient.Record{State: tokenclient.LoggedOut, Number: 1}
	if t != nil {
		now.State, now.Token = tokenclient.Active, t.Clone()
	}
	n := s.eras.Add(1)
	now.Era = [16]byte{2, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	s.write(key, now)
	return now, was, nil
}

// Refresh implements tokenclient.Store.
func (s *PoolStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn Exchange) (tokenclient.Record, error) {
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

// Save implements tokenclient.Store.
func (s *PoolStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
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

// NewPool makes a Pool that is closed at the end of the test. c.Config is that of
// all keys, with refresh as the Refresher, unless it is set.
func NewPool(t testing.TB, c tokenclient.PoolConfig, refresh tokenclient.RefresherFunc) *tokenclient.Pool {
	t.Helper()
	if c.Config == nil {
		c.Config = func(context.Context, string) (tokenclient.Config, error) {
			return tokenclient.Config{Refresher: refresh, Origins: []string{FakeAPI}}, nil
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

// KeepFresh runs Pool.KeepFresh for d, in a bubble.
func KeepFresh(t testing.TB, p *tokenclient.Pool, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := p.KeepFresh(ctx, 0); err != nil {
		t.Errorf("KeepFresh: %v", err)
	}
	synctest.Wait()
}

// NoRefresh is a Refresher that is not to be called.
func NoRefresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	return nil, errors.New("a refresh that nobody needs")
}

// Everybody is the token of any key in a PoolStore, good for an hour.
func Everybody(key string) *tokenclient.Token { return Pair("access-"+key, "refresh-"+key, time.Hour) }

// PoolUser is the key of the ith user.
func PoolUser(i int) string { return fmt.Sprintf("user-%07d", i) }

// Ask sends a request of key's.
func Ask(ctx context.Context, client *http.Client, key string) error {
	req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, key), http.MethodGet, FakeAPI+"/things", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
