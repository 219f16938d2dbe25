package behaviour_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var errNoSpace = errors.New("no space left on device")

// unsavedStore keeps a record in store.Memory, but fails to write what a refresh or
// an answer brought as often as it is told.
type unsavedStore struct {
	store.Memory

	mu    sync.Mutex // guards the rest
	fails int        // writes that are going to fail
	tried []time.Time
}

func (s *unsavedStore) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = append(s.tried, time.Now())
	s.fails--
	return s.fails >= 0
}

func (s *unsavedStore) set(fails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

func (s *unsavedStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	current, err := s.Load(ctx, key)
	if err != nil || current.Era != seen.Era || current.Number > seen.Number {
		return current, err
	}
	if current.Number < seen.Number {
		current = seen // the store was left behind
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	current.Announced++
	t, err := fn(call, current)
	if err != nil {
		return current, err
	}
	var stored tokenclient.Record
	again := func(ctx context.Context) (err error) {
		if s.failing() {
			return errNoSpace
		}
		stored, err = s.Memory.Refresh(ctx, key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			return t, nil
		})
		if errors.Is(err, tokenclient.ErrNoToken) {
			err = tokenclient.ErrReplaced // by a logout
		}
		if err == nil && stored.Era != seen.Era {
			err = tokenclient.ErrReplaced // by a login
		}
		return err
	}
	if err := again(call); err != nil {
		return current, tokenclient.NewNotSavedError(key, t, err, again)
	}
	return stored, nil
}

func (s *unsavedStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (r tokenclient.Record, err error) {
	again := func(ctx context.Context) (err error) {
		if s.failing() {
			return errNoSpace
		}
		if r, err = s.Memory.Save(ctx, key, seen, t); errors.Is(err, tokenclient.ErrNoToken) {
			err = tokenclient.ErrReplaced // by a logout
		}
		return err
	}
	if err = again(ctx); errors.Is(err, errNoSpace) && t.RefreshToken != seen.Token.RefreshToken {
		err = tokenclient.NewNotSavedError(key, t, err, again)
	}
	return r, err
}

// callingStore is a Store that calls back.
type callingStore struct {
	tokenclient.Store
	load, replace, refresh, save func(context.Context) error
}

func called(f func(context.Context) error, ctx context.Context) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (s *callingStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if err := called(s.load, ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *callingStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	if err := called(s.replace, ctx); err != nil {
		return now, was, err
	}
	return s.Store.Replace(ctx, key, t)
}

func (s *callingStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	if err := called(s.refresh, ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Refresh(ctx, key, seen, timeout, fn)
}

func (s *callingStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	if err := called(s.save, ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Save(ctx, key, seen, t)
}
