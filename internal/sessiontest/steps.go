package sessiontest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Barrier stops everybody who comes to it until it is lifted. A nil Barrier
// stops nobody.
type Barrier struct {
	Reached chan struct{} // closed when the first has come

	once   sync.Once
	lifted chan struct{}
}

// NewBarrier returns one that is not lifted.
func NewBarrier() *Barrier {
	return &Barrier{Reached: make(chan struct{}), lifted: make(chan struct{})}
}

// Stop returns when b has been lifted.
func (b *Barrier) Stop() {
	if b == nil {
		return
	}
	b.once.Do(func() { close(b.Reached) })
	<-b.lifted
}

// Lift lets everybody go on.
func (b *Barrier) Lift() { close(b.lifted) }

// Exchange is what Store.Refresh is given to call.
type Exchange = func(context.Context, tokenclient.Record) (*tokenclient.Token, error)

// A StepStore is a Store that can be stopped at each of its steps, or made to fail.
type StepStore struct {
	tokenclient.Store
	BeforeFn *Barrier // it has the key, and the Refresher was not called
	AfterFn  *Barrier // the Refresher has returned, and nothing was written
	Written  *Barrier // the result is written, and Refresh or Save has not returned

	Broken    atomic.Bool // every call fails
	Replaces  atomic.Int32
	Refreshes atomic.Int32 // and saves
}

// Load implements tokenclient.Store.
func (s *StepStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if s.Broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	return s.Store.Load(ctx, key)
}

// Replace implements tokenclient.Store.
func (s *StepStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	s.Replaces.Add(1)
	if s.Broken.Load() {
		return now, was, tokenclient.ErrStoreUnavailable
	}
	return s.Store.Replace(ctx, key, t)
}

// Refresh implements tokenclient.Store.
func (s *StepStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn Exchange) (tokenclient.Record, error) {
	s.Refreshes.Add(1)
	if s.Broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	r, err := s.Store.Refresh(ctx, key, seen, timeout, func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
		s.BeforeFn.Stop()
		t, err := fn(ctx, current)
		s.AfterFn.Stop()
		return t, err
	})
	s.Written.Stop()
	return r, err
}

// Save implements tokenclient.Store.
func (s *StepStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	s.Refreshes.Add(1)
	if s.Broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	r, err := s.Store.Save(ctx, key, seen, t)
	s.Written.Stop()
	return r, err
}

// A StepRefresher is the server's own Refresher, but can be stopped before and after
// its call, and writes down what passes through it.
type StepRefresher struct {
	*tokenclient.OAuth2Refresher
	Before, After *Barrier
	KeepAlive     bool // Revoke does not tell the server

	mu      sync.Mutex // guards the rest
	issued  []string   // refresh tokens
	revoked []string
}

// Refresh implements tokenclient.Refresher.
func (r *StepRefresher) Refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	r.Before.Stop()
	t, err := r.OAuth2Refresher.Refresh(ctx, old)
	if err == nil {
		r.mu.Lock()
		r.issued = append(r.issued, t.RefreshToken)
		r.mu.Unlock()
	}
	r.After.Stop()
	return t, err
}

// Revoke implements tokenclient.Revoker.
func (r *StepRefresher) Revoke(ctx context.Context, t *tokenclient.Token) error {
	r.mu.Lock()
	r.revoked = append(r.revoked, t.RefreshToken)
	r.mu.Unlock()
	if r.KeepAlive {
		return nil
	}
	return r.OAuth2Refresher.Revoke(ctx, t)
}

// Issued returns the refresh tokens that the server has issued by r.
func (r *StepRefresher) Issued() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.issued)
}

// WantRevoked checks that all refresh tokens that were issued have been revoked.
func (r *StepRefresher) WantRevoked(t testing.TB) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, token := range r.issued {
		if !slices.Contains(r.revoked, token) {
			t.Errorf("refresh token %d of those issued during the race is alive at the server", i+1)
		}
	}
}
