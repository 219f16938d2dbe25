package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPoolClosedSession: a session that somebody closed is not handed out again.
func TestPoolClosedSession(t *testing.T) {
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}, sessiontest.NoRefresh)
	s := sessionOf(t, p, "alice")
	sessiontest.Close(t, s)
	if again := sessionOf(t, p, "alice"); again == s {
		t.Error("the closed session")
	}
	if err := sessiontest.Ask(t.Context(), p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK}), "alice"); err != nil {
		t.Error(err)
	}
}

// TestPoolCloseWaits: Close waits for refreshes under way, of sessions that were
// evicted too, and saves what could not be saved; then everything is ErrClosed.
func TestPoolCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		memory := new(store.Memory)
		for _, key := range []string{"alice", "bob"} {
			if _, _, err := memory.Replace(t.Context(), key, sessiontest.Everybody(key)); err != nil {
				t.Fatal(err)
			}
		}
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: memory, MaxRefreshes: 1},
			func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				<-answer
				return sessiontest.Pair("new", "r", time.Hour), nil
			})
		alice, bob := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := sessionOf(t, p, "alice").Refresh(context.Background())
			alice <- err
		}()
		synctest.Wait()
		go func() {
			_, err := sessionOf(t, p, "bob").Refresh(context.Background())
			bob <- err
		}()
		synctest.Wait()
		if s := p.Stats(); s.Refreshing != 1 || s.Waiting != 1 {
			t.Fatalf("%+v, want one refresh under way and one in line", s)
		}
		closed := make(chan error)
		go func() { closed <- p.Close(context.Background()) }()
		synctest.Wait()
		sessiontest.WantErr(t, "a refresh in line", <-bob, tokenclient.ErrClosed)
		select {
		case err := <-closed:
			t.Fatalf("Close did not wait: %v", err)
		default:
		}
		close(answer)
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		sessiontest.WantErr(t, "a refresh under way", <-alice, tokenclient.ErrClosed)
		if r, err := memory.Load(t.Context(), "alice"); err != nil || r.Token.AccessToken != "new" {
			t.Errorf("the new token is not saved: %v, error %v", r.Token, err)
		}
		if r, err := memory.Load(t.Context(), "bob"); err != nil || r.Announced != 0 {
			t.Errorf("bob's token: announced %d, error %v", r.Announced, err)
		}
		_, err := p.Session(t.Context(), "alice")
		sessiontest.WantErr(t, "Session after Close", err, tokenclient.ErrClosed)
		sessiontest.WantErr(t, "a request after Close", sessiontest.Ask(t.Context(), p.Client(), "alice"), tokenclient.ErrClosed)
		sessiontest.WantErr(t, "KeepFresh after Close", p.KeepFresh(t.Context(), 0), tokenclient.ErrClosed)
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

// TestPoolCloseHeld: Close closes a session that was evicted too, which somebody holds.
func TestPoolCloseHeld(t *testing.T) {
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}, MaxIdle: 1}, sessiontest.NoRefresh)
	alice := sessionOf(t, p, "alice")
	sessionOf(t, p, "bob")
	if s := p.Stats(); s.Evicted != 1 {
		t.Fatalf("%+v, want alice evicted", s)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := alice.Token(t.Context())
	sessiontest.WantErr(t, "an evicted session", err, tokenclient.ErrClosed)
}

// TestPoolCloseErrors: Close joins the errors of all sessions, and tries again when it
// is called again.
func TestPoolCloseErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unsaving := &unsavingStore{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}
		p, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store: unsaving,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					return sessiontest.Pair("new", "r", time.Hour), nil
				}
				return tokenclient.Config{Refresher: tokenclient.RefresherFunc(refresh), Origins: []string{sessiontest.FakeAPI}}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if _, err := sessionOf(t, p, sessiontest.PoolUser(i)).Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		err = p.Close(t.Context())
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) != 100 {
			t.Fatalf("Close: %v, want 100 errors", err)
		}
		var unsaved *tokenclient.NotSavedError
		if !errors.As(err, &unsaved) {
			t.Errorf("Close: %v, want NotSavedErrors", err)
		}
		unsaving.works.Store(true)
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

// unsavingStore is a Store that does not save what is refreshed before it works.
type unsavingStore struct {
	tokenclient.Store
	works atomic.Bool
	saves atomic.Int32
}

var errDisk = errors.New("disk full")

func (s *unsavingStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, _ time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	made, err := fn(ctx, seen)
	if err != nil {
		return seen, err
	}
	return seen, tokenclient.NewNotSavedError(key, made, errDisk, func(ctx context.Context) error {
		s.saves.Add(1)
		if !s.works.Load() {
			return errDisk
		}
		_, _, err := s.Replace(ctx, key, made)
		return err
	})
}

// TestPoolCloseKeepFresh: a session whose token is due while Close waits for others gets no turn
// any more, and its KeepFresh does not ask for one again and again until Close comes to it.
func TestPoolCloseKeepFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 64 // more than Close closes at a time
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var begun atomic.Int32 // refreshes of the one who is kept fresh
		hooks := &tokenclient.Hooks{RefreshStarted: func(i tokenclient.RefreshInfo) {
			if i.Cause == tokenclient.CauseTimer && begun.Add(1) > 100 {
				cancel()
			}
		}}
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store:        &sessiontest.PoolStore{Known: sessiontest.Everybody},
			MaxRefreshes: slow,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{Hooks: hooks, Origins: []string{sessiontest.FakeAPI}, Refresher: tokenclient.RefresherFunc(
					func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
						time.Sleep(10 * time.Second)
						return sessiontest.Pair("new", "r", time.Hour), nil
					})}, nil
			},
		}, nil)
		for i := range slow {
			go func() { _, _ = sessionOf(t, p, sessiontest.PoolUser(i)).Refresh(context.Background()) }()
		}
		kept := make(chan error, slow)
		for i := range slow {
			s := sessionOf(t, p, "kept-"+sessiontest.PoolUser(i))
			if err := s.SetToken(t.Context(), sessiontest.Pair("short", "r", 5*time.Second)); err != nil {
				t.Fatal(err)
			}
			go func() { kept <- s.KeepFresh(ctx) }()
		}
		synctest.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		for range slow {
			sessiontest.WantErr(t, "KeepFresh", <-kept, tokenclient.ErrClosed)
		}
		synctest.Wait()
		if n := begun.Load(); n > slow {
			t.Errorf("%d refreshes were begun of %d sessions that are kept fresh", n, slow)
		}
	})
}
