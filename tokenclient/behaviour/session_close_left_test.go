package behaviour_test

import (
	"context"
	"errors"
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
