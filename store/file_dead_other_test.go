//go:build !linux

package store_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// TestFileDeadRequestsElsewhere: where FileOptions.DeadRequestsEndWithin shortens no wait it
// makes none longer: what came of a login since a call was given up is exchanged at once.
func TestFileDeadRequestsElsewhere(t *testing.T) {
	f, err := store.NewFileWithOptions(newFolder(t), store.Seal(keyOf(t, "test")), &store.FileOptions{DeadRequestsEndWithin: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	wantLetGo(t, f)
}
