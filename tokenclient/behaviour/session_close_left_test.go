package behaviour_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestCloseAfterSignal: Close with a context that has ended, as that of signal.NotifyContext
// has after a signal, at any moment of a refresh. A refresh token that the server has is
// waited for, and its successor is stored; none is presented after Close has returned.
func TestCloseAfterSignal(t *testing.T) {
	for at := range 25 { // seconds
		synctest.Test(t, func(t *testing.T) {
			kept := &slowStore{Store: new(store.Memory), delay: 4 * time.Second}
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 10 * time.Second}, sessiontest.Kept(kept))
			r.Login(t)
			go func() { _, _ = r.Session.Refresh(context.Background()) }()
			time.Sleep(time.Duration(at)*time.Second + time.Millisecond)
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			err := r.Session.Close(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%d s: Close: %v", at, err)
			}
			if took := time.Since(began); took > 31*time.Second {
				t.Errorf("%d s: Close took %v", at, took)
			}
			presented := r.Server.Counters().Refreshes
			rec, loadErr := kept.Store.Load(t.Context(), "alice")
			if loadErr != nil || int(rec.Number) != 1+presented {
				t.Errorf("%d s: the store has number %d after %d refreshes (%v)", at, rec.Number, presented, loadErr)
			}
			if err == nil && rec.Announced > 0 {
				t.Errorf("%d s: the record is announced %d times", at, rec.Announced)
			}
			time.Sleep(time.Hour)
			if n := r.Server.Counters().Refreshes; n != presented {
				t.Errorf("%d s: %d refreshes after Close", at, n-presented)
			}
		})
	}
}

// slowStore takes its time before a refresh is begun, and when it has ended.
type slowStore struct {
	tokenclient.Store
	delay time.Duration
}

func (s *slowStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	return s.Store.Refresh(ctx, key, seen, timeout, func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
		time.Sleep(s.delay)
		t, err := fn(ctx, current)
		time.Sleep(s.delay)
		return t, err
	})
}

// heedlessStore is a Store that gets stuck where it writes a new token, whatever its context says,
// as a file on a network that is gone does.
type heedlessStore struct {
	store.Memory
	free chan struct{} // closed when it is not stuck any more
}

func (s *heedlessStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	t, err := fn(ctx, seen)
	if err != nil {
		return seen, err
	}
	return seen, tokenclient.NewNotSavedError(key, t, errNoSpace, func(ctx context.Context) error {
		_, err := s.Save(ctx, key, seen, t)
		return err
	})
}

func (s *heedlessStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	<-s.free
	return s.Memory.Save(ctx, key, seen, t)
}

// TestCloseLeavesAHeedlessStore: the last attempt to store a token ends, too, if the Store does not
// heed its context. The token is in the error, and a later Close stores it.
func TestCloseLeavesAHeedlessStore(t *testing.T) {
	const timeout = 20 * time.Second
	for name, tc := range map[string]struct {
		get  func(t *testing.T, r *sessiontest.Rig) // has the session get a token that is not stored
		most time.Duration
	}{
		"refreshed": {func(t *testing.T, r *sessiontest.Rig) {
			if _, err := r.Session.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, 2*timeout + time.Second},
		"renewed": {func(t *testing.T, r *sessiontest.Rig) { r.WantGet(t, 200) }, 3*timeout + time.Minute + time.Second},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			st := &heedlessStore{free: make(chan struct{})}
			refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				return sessiontest.Pair("next", "refresh-1", time.Hour), nil
			}
			r := sessiontest.NewFake(t, refresh, func(req *http.Request) (*http.Response, error) {
				resp := sessiontest.Reply(req, 200)
				resp.Header.Set(slidingHeader, "next")
				return resp, nil
			}, func(c *tokenclient.Config) {
				c.Store, c.Key, c.RefreshTimeout = st, "alice", timeout
				c.Renewed = tokenclient.RenewedHeader(slidingHeader)
			})
			r.Give(t, sessiontest.Pair("login", "refresh-0", time.Hour))
			tc.get(t, r)
			began := time.Now()
			closed := make(chan error, 1)
			go func() { closed <- r.Session.Close(context.Background()) }()
			select {
			case err := <-closed:
				var unsaved *tokenclient.NotSavedError
				if !errors.As(err, &unsaved) || unsaved.Token.AccessToken != "next" {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(began); took > tc.most {
					t.Errorf("Close took %v", took)
				}
			case <-time.After(time.Hour):
				t.Error("Close waits for the Store for ever")
			}
			close(st.free)
			time.Sleep(time.Minute)
			if err := r.Session.Close(context.Background()); err != nil {
				t.Errorf("the second Close: %v", err)
			}
			if rec, err := st.Load(t.Context(), "alice"); err != nil || rec.Token.AccessToken != "next" {
				t.Errorf("the store has %v, %v", rec.Token, err)
			}
		})
	}
}
