//go:build !linux

package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestFileDeadRequestsElsewhere: where FileOptions.DeadRequestsEndWithin shortens no wait it
// makes none longer: what came of a login since a call was given up is exchanged at once.
func TestFileDeadRequestsElsewhere(t *testing.T) {
	f, err := store.NewFileWithOptions(newFolder(t), store.Seal(keyOf(t, "test")), &store.FileOptions{DeadRequestsEndWithin: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	seen := login(t, f, "k", "a")
	_, err = f.Refresh(t.Context(), "k", seen, time.Hour, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return nil, context.DeadlineExceeded
	})
	wantErr(t, err, context.DeadlineExceeded)
	seen = login(t, f, "k", "b")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := f.Refresh(ctx, "k", seen, time.Minute, next); err != nil {
		t.Fatal(err)
	}
}
