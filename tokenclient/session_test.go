package tokenclient_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// With a valid token a request needs none of the session's locks. Real sockets: a
// mutex that is waited for hangs a bubble.
func TestSessionValidTokenNeedsNoLock(t *testing.T) {
	r := sessiontest.New(t, nil, nil)
	r.Login(t)
	unlock := tokenclient.LockSession(r.Session)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		status, err := r.Get(ctx)
		if err == nil && status != 200 {
			t.Errorf("status %d", status)
		}
		if _, err := r.Session.Token(ctx); err != nil {
			t.Error(err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("a request with a valid token waited for the session's mutex")
	}
}
