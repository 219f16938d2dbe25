package tokenclient

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// ownStore is the Store of a session without one: it holds the record of this
// session alone, so that there is one way to refresh and not two. Nobody else
// holds the key, hence nothing to wait for or to announce. Package store cannot
// be used here: it imports this one.
type ownStore struct {
	mu     sync.Mutex // guards the rest, which is of a Record
	token  *Token
	era    [16]byte
	number uint64
	state  State
}

func (s *ownStore) recordLocked() Record {
	return Record{State: s.state, Token: s.token, Era: s.era, Number: s.number}
}

func (s *ownStore) setLocked(r Record) {
	s.state, s.token, s.era, s.number = r.State, r.Token, r.Era, r.Number
}

func (s *ownStore) load() (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != Active {
		return s.recordLocked(), ErrNoToken
	}
	return s.recordLocked(), nil
}

// share makes the store hold r's token in the place of its own, which says the same.
func (s *ownStore) share(r Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == Active && s.era == r.Era && s.number == r.Number && s.token.AccessToken == r.Token.AccessToken {
		s.token = r.Token
	}
}

func (s *ownStore) Load(context.Context, string) (Record, error) { return s.load() }

func (s *ownStore) Replace(_ context.Context, _ string, t *Token) (now, was Record, err error) {
	now = Record{State: LoggedOut}
	if t != nil {
		now = Record{State: Active, Token: t.Clone(), Number: 1}
	}
	_, _ = rand.Read(now.Era[:]) // never fails: it ends the process instead
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.recordLocked()
	s.setLocked(now)
	return now, was, nil
}

func (s *ownStore) Refresh(ctx context.Context, _ string, seen Record, timeout time.Duration,
	fn func(context.Context, Record) (*Token, error)) (Record, error) {
	current, err := s.load()
	if err != nil || current.Era != seen.Era || current.Number > seen.Number {
		return current, err
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	current.Announced = 1
	t, err := fn(call, current)
	if err != nil {
		return current, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.followLocked(seen, t)
}

func (s *ownStore) Save(_ context.Context, _ string, seen Record, t *Token) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != Active {
		return s.recordLocked(), ErrNoToken
	}
	return s.followLocked(seen, t)
}

// followLocked makes t the token that follows seen, unless there is another by now.
func (s *ownStore) followLocked(seen Record, t *Token) (Record, error) {
	switch {
	case s.era != seen.Era:
		return s.recordLocked(), ErrReplaced
	case s.number > seen.Number:
		return s.recordLocked(), ErrOvertaken
	}
	s.setLocked(Record{State: Active, Token: t, Era: seen.Era, Number: seen.Number + 1})
	return s.recordLocked(), nil
}
