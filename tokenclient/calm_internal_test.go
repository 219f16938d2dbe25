package tokenclient

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newCalm is a session in whose token's hour a calm has begun.
func newCalm(t *testing.T, refresh RefresherFunc) *Session {
	t.Helper()
	s := newInternal(t, refresh)
	for range 2 {
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.calmAbout(s.held.Load()) == nil {
		t.Fatal("no calm after two requests at once")
	}
	return s
}

var errNotAskedFor = errors.New("not asked for")

func refuseToRefresh(context.Context, *Token) (*Token, error) { return nil, errNotAskedFor }

// TestExpiryDuringSuspend: while the machine sleeps the timer that ends a calm
// stands still, and a token expires. From when the timer has run out on, nobody gets
// the old one.
func TestExpiryDuringSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCalm(t, func(context.Context, *Token) (*Token, error) {
			time.Sleep(2 * time.Second)
			return &Token{AccessToken: "new"}, nil
		})
		// The wall clock goes forward by a day, as it looks from the token.
		slept := *s.held.Load()
		expired := slept.record.Token.Clone()
		expired.Expiry = expired.Expiry.Add(-24 * time.Hour)
		slept.record.Token = expired
		s.held.Store(&slept)
		s.calm.Load().held = &slept

		time.Sleep(calmTime)
		synctest.Wait()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if got, err := s.Token(t.Context()); err != nil || got.AccessToken != "new" {
					t.Errorf("token %v, error %v; want the new one", got, err)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
	})
}

// TestCalm lasts for a second at most, ends before the token does, and does not
// begin with requests that come one by one.
func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCalm(t, refuseToRefresh)
		h := s.held.Load()
		get := func() {
			t.Helper()
			if _, err := s.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			time.Sleep(calmTime)
			synctest.Wait()
			if s.calmAbout(h) != nil {
				t.Error("the clock was not asked for a second")
			}
			get()
			if s.calmAbout(h) != nil {
				t.Error("a calm began with a single request")
			}
			time.Sleep(2 * calmGap)
			get()
			if s.calmAbout(h) != nil {
				t.Error("a calm began with requests that are far apart")
			}
			get()
			if s.calmAbout(h) == nil {
				t.Error("no calm although requests came at once")
			}
		}
		soft := h.soft()
		time.Sleep(time.Until(soft) - calmTime/2)
		get()
		get()
		if s.calmAbout(h) == nil {
			t.Error("no calm half a second before the token is to be refreshed")
		}
		time.Sleep(calmTime/2 - calmMargin)
		synctest.Wait()
		get()
		get()
		if s.calmAbout(h) != nil {
			t.Error("calm shortly before the token is to be refreshed")
		}
	})
}

// TestCalmEnds with the token that it is about, and with the session.
func TestCalmEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newCalm(t, refuseToRefresh)
		if err := s.SetToken(t.Context(), &Token{AccessToken: "other", Expiry: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, errNotAskedFor) {
			t.Errorf("error %v, want that of a refresh", err)
		}
		if err := s.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, ErrLoggedOut) {
			t.Errorf("error %v, want %v", err, ErrLoggedOut)
		}

		s = newCalm(t, refuseToRefresh)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.calm.Load() != nil {
			t.Error("a timer runs on after Close")
		}
	})
}

// TestCalmWaitsForNoLock: a request that would begin one goes on without.
func TestCalmWaitsForNoLock(t *testing.T) {
	s := newInternal(t, refuseToRefresh)
	defer LockSession(s)()
	for range 10 {
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.calmAbout(s.held.Load()) != nil {
		t.Error("a calm began without the lock")
	}
}
