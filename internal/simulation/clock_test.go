package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Processes on several machines do not agree on the time of day. In a bubble they have one clock;
// but all that one learns of another's are the times in the records that they share. So the
// times of what a process reads and writes are changed on the way, by as much as its clock is
// ahead of the bubble's: it gets what it would get if it were its clock that is right.
// A clock is set only while its process does not run: see the package comment.

// drawClocks draws by how much clocks differ, by a chance of its own.
func (s *settings) drawClocks(seed uint64) {
	if rng := rand.New(rand.NewPCG(seed, 14)); s.store == storeShared && rng.Float64() < 0.3 {
		s.skew = []time.Duration{2 * time.Second, 30 * time.Second, 10 * time.Minute}[rng.IntN(3)]
	}
}

// A clockStore is a store as a process sees it whose clock is ahead.
type clockStore struct {
	inner tokenclient.Store
	ahead time.Duration
}

// byItsClock returns s as p sees it, which has just been started.
func (p *process) byItsClock(s tokenclient.Store) tokenclient.Store {
	set := &p.w.plan.set
	if set.skew == 0 {
		return s
	}
	p.ahead = p.w.plan.between(fmt.Sprintf("p%d clock %v", p.id, p.w.now()), 0, set.skew)
	return &clockStore{s, p.ahead}
}

// clock is how far it is ahead.
func (p *process) clock() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ahead
}

// later is by how much p takes the times of a to be later than they are: who got it from the
// server wrote them by another clock. (KeepFresh refreshes what a session has held for as long
// as it lives, whatever the time is: so to refresh at the real time is always right.)
func (p *process) later(a *access) time.Duration {
	if a == nil {
		return 0
	}
	return a.ahead - p.clock()
}

// moved returns t with all its times later by d.
func moved(t *tokenclient.Token, d time.Duration) *tokenclient.Token {
	if t = t.Clone(); t == nil {
		return nil
	}
	for _, at := range []*time.Time{&t.Expiry, &t.RefreshExpiry, &t.Issued} {
		if !at.IsZero() {
			*at = at.Add(d)
		}
	}
	for name, a := range t.Audiences {
		t.Audiences[name] = tokenclient.AudienceToken{Token: moved(a.Token, d), Number: a.Number}
	}
	return t
}

// out is r as it is stored, and in as the process gets it.
func (s *clockStore) out(r tokenclient.Record) tokenclient.Record {
	r.Token = moved(r.Token, s.ahead)
	return r
}

func (s *clockStore) in(r tokenclient.Record) tokenclient.Record {
	r.Token = moved(r.Token, -s.ahead)
	return r
}

func (s *clockStore) failed(err error) error {
	var unsaved *tokenclient.NotSavedError
	if errors.As(err, &unsaved) {
		return tokenclient.NewNotSavedError(unsaved.Key, moved(unsaved.Token, -s.ahead), unsaved.Err, unsaved.Save)
	}
	return err
}

func (s *clockStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	r, err := s.inner.Load(ctx, key)
	return s.in(r), err
}

func (s *clockStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	now, was, err = s.inner.Replace(ctx, key, moved(t, s.ahead))
	return s.in(now), s.in(was), err
}

func (s *clockStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	r, err := s.inner.Refresh(ctx, key, s.out(seen), timeout, func(ctx context.Context, now tokenclient.Record) (*tokenclient.Token, error) {
		t, err := fn(ctx, s.in(now))
		return moved(t, s.ahead), err
	})
	return s.in(r), s.failed(err)
}

func (s *clockStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	r, err := s.inner.Save(ctx, key, s.out(seen), moved(t, s.ahead))
	return s.in(r), s.failed(err)
}
