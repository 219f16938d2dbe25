package fleet_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// session is a session in the test's own process.
func (w *world) session(t testing.TB) *tokenclient.Session {
	t.Helper()
	refresher := w.Server.JSONRefresher()
	refresher.TokenURL = w.Gate.URL + "/token/refresh"
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: refresher, Store: w.Store, Key: account, Origins: []string{w.Gate.URL},
		RefreshTimeout: w.Base.RefreshTimeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// TestEngineDown cuts the engine off. As long as the access token is good nobody
// notices. When it has expired, requests fail within their deadline with an error
// that says what is the matter, and no refresh token is spent. When the engine is
// back they succeed, with one refresh.
func TestEngineDown(t *testing.T) {
	for _, name := range engineNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, name, 5*time.Second, time.Second)
			s := w.session(t)
			client := s.Client()
			get := func(d time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				_, err := sessiontest.Subject(ctx, client, w.Gate.URL)
				return err
			}
			if err := s.SetToken(t.Context(), w.Server.Issue(account)); err != nil {
				t.Fatal(err)
			}

			mend := w.running.cut(t)
			for i := range 100 {
				if err := get(processes.Patience); err != nil {
					t.Fatalf("engine down, access token good, request %d: %v", i, err)
				}
			}
			w.Server.RevokeAccess(account)
			var took []time.Duration
			for range 3 {
				began := time.Now()
				err := get(2 * time.Second)
				took = append(took, time.Since(began))
				if !errors.Is(err, tokenclient.ErrStoreUnavailable) && !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("engine down, access token refused: %v, want ErrStoreUnavailable or the deadline", err)
				}
			}
			// The fastest: a busy machine is slow now and then.
			if fastest := slices.Min(took); fastest > 4*time.Second {
				t.Errorf("the deadline was 2 s, the answer took %v", fastest)
			}
			if n := w.Server.Counters().Refreshes; n != 0 {
				t.Errorf("%d refreshes without an engine to announce them in", n)
			}
			mend()
			for end := time.Now().Add(processes.Patience); ; {
				err := get(processes.Patience)
				if err == nil {
					break
				}
				if !errors.Is(err, tokenclient.ErrStoreUnavailable) || time.Now().After(end) {
					t.Fatalf("engine back: %v", err)
				}
				<-time.After(50 * time.Millisecond) // the backoff of the failures above
			}
			w.WantRefreshes(t, 1, 0)
		})
	}
}
