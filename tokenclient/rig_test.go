package tokenclient_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Short names, for the tests of Pool.
const (
	raceEnabled = sessiontest.Race
	fakeAPI     = sessiontest.FakeAPI
)

type roundTrip = sessiontest.RoundTrip

var (
	reply         = sessiontest.Reply
	closeSession  = sessiontest.Close
	pair          = sessiontest.Pair
	wantErr       = sessiontest.WantErr
	wantTransient = sessiontest.WantTransient
	userSubject   = sessiontest.Subject
)

// A barrier stops everybody who comes to it until it is lifted. A nil barrier
// stops nobody.
type barrier struct {
	once    sync.Once
	reached chan struct{} // closed when the first has come
	lifted  chan struct{}
}

func newBarrier() *barrier {
	return &barrier{reached: make(chan struct{}), lifted: make(chan struct{})}
}

func (b *barrier) stop() {
	if b == nil {
		return
	}
	b.once.Do(func() { close(b.reached) })
	<-b.lifted
}

func (b *barrier) lift() { close(b.lifted) }

// stepStore is a Store that can be stopped at each of its steps, or made to fail.
type stepStore struct {
	tokenclient.Store
	beforeFn *barrier // it has the key, and the Refresher was not called
	afterFn  *barrier // the Refresher has returned, and nothing was written
	written  *barrier // the result is written, and Refresh or Save has not returned

	broken    atomic.Bool // every call fails
	replaces  atomic.Int32
	refreshes atomic.Int32 // and saves
}

func (s *stepStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if s.broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	return s.Store.Load(ctx, key)
}

func (s *stepStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	s.replaces.Add(1)
	if s.broken.Load() {
		return now, was, tokenclient.ErrStoreUnavailable
	}
	return s.Store.Replace(ctx, key, t)
}

func (s *stepStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	s.refreshes.Add(1)
	if s.broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	r, err := s.Store.Refresh(ctx, key, seen, timeout, func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
		s.beforeFn.stop()
		t, err := fn(ctx, current)
		s.afterFn.stop()
		return t, err
	})
	s.written.stop()
	return r, err
}

func (s *stepStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	s.refreshes.Add(1)
	if s.broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	r, err := s.Store.Save(ctx, key, seen, t)
	s.written.stop()
	return r, err
}
