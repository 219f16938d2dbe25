package tokenclient

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// newInternal is a session with a token of an hour.
func newInternal(t *testing.T, refresh RefresherFunc) *Session {
	t.Helper()
	s, err := New(Config{Refresher: refresh, Origins: []string{"http://localhost:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := s.SetToken(t.Context(), &Token{AccessToken: "a1", RefreshToken: "r1", Expiry: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return s
}

// A flight that was begun for an older generation has nothing to do, and may end
// at once with the very token that somebody who joined it was just refused. The
// test holds the flight open at that moment.
func TestJoinerIsNotHandedTheRejectedToken(t *testing.T) {
	for _, tc := range []struct {
		name  string
		again func(*Session, context.Context, *held) (*held, error)
	}{
		{"rejected", func(s *Session, ctx context.Context, h *held) (*held, error) { return s.insteadOf(ctx, h) }},
		{"forced", func(s *Session, ctx context.Context, h *held) (*held, error) { return s.refreshed(ctx, h, CauseForced) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := []string{"a2", "a3", "a4"}
				s := newInternal(t, func(_ context.Context, old *Token) (*Token, error) {
					next := names[0]
					names = names[1:]
					return &Token{AccessToken: next, RefreshToken: "r", Expiry: time.Now().Add(time.Hour)}, nil
				})
				first := s.held.Load()
				second, err := s.insteadOf(t.Context(), first)
				if err != nil {
					t.Fatal(err)
				}
				begin := make(chan struct{})
				late := s.flights.DoChan("refresh", func() (any, error) {
					<-begin
					return s.refresh(first, CauseSoft)
				})
				got := make(chan *held, 1)
				go func() {
					h, err := tc.again(s, t.Context(), second)
					if err != nil {
						t.Error(err)
					}
					got <- h
				}()
				synctest.Wait() // it has joined
				close(begin)
				<-late
				if h := <-got; h == nil || h.generation == second.generation {
					t.Errorf("a request whose token was refused was handed the same token again")
				}
			})
		})
	}
}
