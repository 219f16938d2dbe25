package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestFileTellsOfChanges: who waits for another process is told of whatever ends its wait, and
// need not look.
func TestFileTellsOfChanges(t *testing.T) {
	errLater := errors.New("later")
	for name, c := range map[string]struct {
		refresh error // of a refresh, after which there is none if it is nil
		replace bool
		token   *tokenclient.Token // of a login; nil: a logout
	}{
		"a new token":            {},
		"a refresh that failed":  {refresh: errLater},
		"a refresh that refused": {refresh: tokenclient.ErrRefused},
		"a login":                {replace: true, token: tok("b")},
		"a logout":               {replace: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			mine, other := openFile(t, dir), openFile(t, dir)
			seen := login(t, other, "k", "a")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var change func(context.Context) error
			begin := func() {
				var stop func()
				change, stop = mine.Changes("k")
				t.Cleanup(stop)
			}
			if c.replace {
				begin()
				if _, _, err := other.Replace(ctx, "k", c.token); err != nil {
					t.Fatal(err)
				}
			} else if _, err := other.Refresh(ctx, "k", seen, time.Second, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
				begin() // after its claim, of which this is not told
				return tok("a'"), c.refresh
			}); !errors.Is(err, c.refresh) {
				t.Fatal(err)
			}
			if err := change(ctx); err != nil {
				t.Errorf("not told: %v", err)
			}
		})
	}
}
