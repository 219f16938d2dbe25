package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// audiencePair is a session with an audience, each of whose refreshes brings another pair.
func audiencePair(t *testing.T, calls *int) *Session {
	t.Helper()
	r := RefresherFunc(func(context.Context, *Token) (*Token, error) {
		*calls++
		now := time.Now()
		return &Token{AccessToken: fmt.Sprint("access ", *calls), RefreshToken: fmt.Sprint("refresh ", *calls), Issued: now, Expiry: now.Add(time.Hour)}, nil
	})
	s, err := New(Config{
		Refresher: r, Origins: []string{"https://api.example.com"},
		Audiences: []Audience{{Name: "mail", Refresher: r, Origins: []string{"https://mail.example.com"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

// TestAudienceNumbersOfAnotherLogin: a token that is handed from one session to another has
// the numbers of its old login. An audience is refreshed once all the same.
func TestAudienceNumbersOfAnotherLogin(t *testing.T) {
	for name, number := range map[string]uint64{"none": 0, "first": 1, "some": 14, "many": 1 << 40, "most": 1 << 63} {
		calls := 0
		s := audiencePair(t, &calls)
		old := time.Now().Add(-time.Hour)
		err := s.SetToken(t.Context(), &Token{
			AccessToken: "access", RefreshToken: "refresh",
			Audiences: map[string]AudienceToken{"mail": {&Token{AccessToken: "old", Issued: old, Expiry: old.Add(time.Minute)}, number}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			got, err := s.TokenFor(ctx, "mail")
			cancel()
			if err != nil || got.AccessToken != "access 1" || calls != 1 {
				t.Fatalf("%s: token %v, %v, after %d refreshes", name, got, err, calls)
			}
		}
	}
}

// TestAudienceLateSave: what a hanging refresh of an audience brings in the end is not stored
// over a pair that came after it, though the audience's own number has not changed.
func TestAudienceLateSave(t *testing.T) {
	calls := 0
	s := audiencePair(t, &calls)
	if err := s.SetToken(t.Context(), &Token{AccessToken: "access", RefreshToken: "refresh"}); err != nil {
		t.Fatal(err)
	}
	p := s.parts[0].store.(*partStore)
	first := s.holds().record
	p.note(first)
	seen := p.view(first)
	if _, err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.note(s.holds().record) // the audience's next refresh has begun
	_, err := p.Save(t.Context(), "", seen, &Token{AccessToken: "late", RefreshToken: "late"})
	r, _ := s.store.Load(t.Context(), s.key)
	if !errors.Is(err, ErrOvertaken) || r.Token == nil || r.Token.RefreshToken != "refresh 1" {
		t.Errorf("error %v, stored %v", err, r.Token)
	}
}

// staleReads is a Store whose Load reads what was written long ago.
type staleReads struct {
	Store
	old Record
}

func (s *staleReads) Load(context.Context, string) (Record, error) {
	r := s.old
	r.Token = r.Token.Clone()
	return r, nil
}

// TestAudienceStaleReads: a refresh of an audience ends, whatever Load says.
func TestAudienceStaleReads(t *testing.T) {
	calls := 0
	s := audiencePair(t, &calls)
	if err := s.SetToken(t.Context(), &Token{AccessToken: "access", RefreshToken: "refresh"}); err != nil {
		t.Fatal(err)
	}
	old := s.holds().record
	now, err := s.store.Refresh(t.Context(), s.key, old, time.Minute, func(context.Context, Record) (*Token, error) { // another process
		return &Token{AccessToken: "other", RefreshToken: "other"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &partStore{whole: s, store: &staleReads{s.store, old}, name: "mail"}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan Record, 1)
	go func() {
		r, _ := p.Refresh(ctx, "", p.view(old), time.Minute, func(_ context.Context, current Record) (*Token, error) {
			return &Token{AccessToken: "mail", RefreshToken: "after " + current.Token.RefreshToken}, nil
		})
		ended <- r
	}()
	select {
	case r := <-ended:
		if r.Token == nil || r.Token.RefreshToken != "after other" || r.Number != now.Number+1 {
			t.Errorf("record %+v", r)
		}
	case <-ctx.Done():
		t.Error("it does not end")
	}
}
