package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// hangingStore is a Store whose Load hangs until its context ends or it is let go, and whose
// Replace does so too if it is told to.
type hangingStore struct {
	tokenclient.Store
	letGo    chan struct{}
	replaces bool
}

func (s *hangingStore) hang(ctx context.Context) error {
	select {
	case <-s.letGo:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *hangingStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if err := s.hang(ctx); err != nil {
		return tokenclient.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *hangingStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	if s.replaces {
		if err := s.hang(ctx); err != nil {
			return now, was, err
		}
	}
	return s.Store.Replace(ctx, key, t)
}

// TestPoolLogoutWhileLoading: a logout of a user whose session is being loaded, by others or by
// nobody else, waits for no look at the store, and holds for all who do.
func TestPoolLogoutWhileLoading(t *testing.T) {
	for _, tc := range []struct {
		name     string
		others   int  // who wait for the session
		replaces bool // the logout hangs, too
		want     error
		took     time.Duration
	}{
		{name: "alone"},
		{name: "others wait", others: 3},
		{name: "alone, the store hangs", replaces: true, want: context.DeadlineExceeded, took: time.Minute},
		{name: "others wait, the store hangs", others: 3, replaces: true, want: context.DeadlineExceeded, took: time.Minute},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			st := &hangingStore{
				Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, letGo: make(chan struct{}), replaces: tc.replaces,
			}
			p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: st}, sessiontest.NoRefresh)
			client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
			answers := make(chan error, tc.others)
			for range tc.others {
				go func() { answers <- sessiontest.Ask(t.Context(), client, "alice") }()
			}
			synctest.Wait()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := p.Logout(ctx, "alice"); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("Logout: %v, want %v", err, tc.want)
			}
			if took := time.Since(began); took != tc.took {
				t.Errorf("Logout took %v", took)
			}
			for range tc.others {
				sessiontest.WantErr(t, "who waited", <-answers, tokenclient.ErrLoginRequired)
			}
			close(st.letGo)
			time.Sleep(time.Minute) // the store works again, and has the token if the logout was not stored
			sessiontest.WantErr(t, "later", sessiontest.Ask(t.Context(), client, "alice"), tokenclient.ErrLoginRequired)
			if tc.want != nil {
				if err := p.Logout(t.Context(), "alice"); err != nil {
					t.Errorf("Logout once more: %v", err)
				}
			}
			if r, _ := st.Load(t.Context(), "alice"); r.State != tokenclient.LoggedOut {
				t.Errorf("the store says %v", r.State)
			}
		})
	}
}

// TestPoolLogoutWhileConfiguring: what a logout waits for is Config, and no longer than its
// context. Then nobody is logged out.
func TestPoolLogoutWhileConfiguring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan struct{})
		p := configuredBy(t, func(context.Context, string) (tokenclient.Config, error) {
			<-letGo
			return goodConfig(), nil
		})
		client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
		answer := make(chan error, 1)
		go func() { answer <- sessiontest.Ask(t.Context(), client, "alice") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := p.Logout(ctx, "alice")
		sessiontest.WantErr(t, "Logout", err, context.DeadlineExceeded)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Logout took %v", took)
		}
		close(letGo)
		if err := <-answer; err != nil {
			t.Errorf("who waited: %v", err)
		}
		if err := p.Logout(t.Context(), "alice"); err != nil {
			t.Errorf("Logout once more: %v", err)
		}
		sessiontest.WantErr(t, "later", sessiontest.Ask(t.Context(), client, "alice"), tokenclient.ErrLoginRequired)
		sessiontest.WantErr(t, "Logout of nobody", p.Logout(t.Context(), ""), tokenclient.ErrNoKey)
	})
}
