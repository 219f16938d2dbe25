// Package recordtest is the rig of tests that look at the records of a tokenclient.Store:
// tokens that tell which login and which refresh they are of, functions for
// Store.Refresh, and what must be stored. It knows no store, and no session.
package recordtest

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A RefreshFunc is the fn of tokenclient.Store.Refresh.
type RefreshFunc = func(context.Context, tokenclient.Record) (*tokenclient.Token, error)

// Token returns a token whose texts have the name in them.
func Token(name string) *tokenclient.Token {
	return &tokenclient.Token{AccessToken: "access-" + name, RefreshToken: "refresh-" + name}
}

// Next is a fn that exchanges refresh-x for refresh-x'.
func Next(_ context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
	t := cur.Token.Clone()
	t.AccessToken += "'"
	t.RefreshToken += "'"
	return t, nil
}

// Never returns a fn that must not be called.
func Never(t testing.TB) RefreshFunc {
	return func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		t.Error("fn was called")
		return nil, errors.New("must not be called")
	}
}

// Login stores Token(name) and returns the record.
func Login(t testing.TB, s tokenclient.Store, key, name string) tokenclient.Record {
	t.Helper()
	now, _, err := s.Replace(context.Background(), key, Token(name))
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	return now
}

// WantToken checks that rec is active with the given refresh token and number.
func WantToken(t testing.TB, rec tokenclient.Record, refreshToken string, number uint64) {
	t.Helper()
	if rec.State != tokenclient.Active || rec.Token == nil || rec.Token.RefreshToken != refreshToken || rec.Number != number {
		got := "none"
		if rec.Token != nil {
			got = rec.Token.RefreshToken
		}
		t.Fatalf("record is %v, number %d, refresh token %q; want active, %d, %q", rec.State, rec.Number, got, number, refreshToken)
	}
}

// WantStored is WantToken of what is stored under key.
func WantStored(t testing.TB, s tokenclient.Store, key, refreshToken string, number uint64) {
	t.Helper()
	rec, err := s.Load(context.Background(), key)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	WantToken(t, rec, refreshToken, number)
}

// WantErr ends the test unless err is want.
func WantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}
