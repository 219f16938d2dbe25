package behaviour_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// slowAnswers is a Store whose Refresh finds a logout of another process, and whose
// answers take a while.
type slowAnswers struct{ tokenclient.Store }

func (slowAnswers) Load(context.Context, string) (tokenclient.Record, error) {
	return tokenclient.Record{State: tokenclient.Active, Era: [16]byte{1}, Number: 1, Token: &tokenclient.Token{AccessToken: "old", RefreshToken: "old"}}, nil
}

func (slowAnswers) Replace(_ context.Context, _ string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	time.Sleep(2 * time.Second)
	return tokenclient.Record{State: tokenclient.Active, Era: [16]byte{3}, Number: 1, Token: t}, tokenclient.Record{State: tokenclient.LoggedOut, Era: [16]byte{2}}, nil
}

func (slowAnswers) Refresh(context.Context, string, tokenclient.Record, time.Duration,
	func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	time.Sleep(2 * time.Second)
	return tokenclient.Record{State: tokenclient.LoggedOut, Era: [16]byte{2}}, tokenclient.ErrNoToken
}

// TestRefreshBegunDuringLogin: what a refresh found before a login was stored does not
// end the session that the login began.
func TestRefreshBegunDuringLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := tokenclient.New(tokenclient.Config{
			Store: slowAnswers{}, Key: "k", AnyOrigin: true,
			Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				return nil, errors.New("not to be called")
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Peek(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			_, _ = s.Refresh(t.Context())
		}()
		if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "new", RefreshToken: "new"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if now, err := s.Peek(t.Context()); err != nil || now.AccessToken != "new" {
			t.Errorf("after the login: %v, %v", now, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
