package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
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

// A loginless store takes no login.
type loginless struct{ tokenclient.Store }

func (loginless) Replace(context.Context, string, *tokenclient.Token) (now, was tokenclient.Record, err error) {
	return now, was, fmt.Errorf("%w: no logins today", tokenclient.ErrStoreUnavailable)
}

// TestLoginFailsAndRetryAfter: a login that fails while the token endpoint asks for a wait does
// not have the session ask again at once.
func TestLoginFailsAndRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(store.Memory)
		if _, _, err := memory.Replace(t.Context(), "default", &tokenclient.Token{AccessToken: "a", RefreshToken: "r"}); err != nil {
			t.Fatal(err)
		}
		var calls atomic.Int32
		session, err := tokenclient.New(tokenclient.Config{
			Key: "default", Store: loginless{memory}, Origins: []string{"https://api.example.com"},
			Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				calls.Add(1)
				time.Sleep(time.Second)
				return nil, &tokenclient.TokenError{StatusCode: 429, RetryAfter: 4 * time.Second}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sessiontest.Close(t, session)
		done := make(chan error, 1)
		if _, err := session.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := session.RefreshRejected(t.Context(), &tokenclient.Token{AccessToken: "a"})
			done <- err
		}()
		synctest.Wait()
		if err := session.SetToken(t.Context(), &tokenclient.Token{AccessToken: "b", RefreshToken: "s"}); !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Errorf("SetToken: %v", err)
		}
		var te *tokenclient.TokenError
		if err := <-done; !errors.As(err, &te) || te.RetryAfter <= 0 {
			t.Errorf("after %d calls: %v; want an error that says when", calls.Load(), err)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}
