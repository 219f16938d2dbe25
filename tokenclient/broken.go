package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
)

// errBroken marks what a Refresher or Store did against its contract: a second
// try of the same is no use.
var errBroken = errors.New("tokenclient: contract broken")

// calleeGrace is how much longer than its context a Refresher may take before those who
// wait are answered without it. Stores hold a key longer than that.
const calleeGrace = 500 * time.Millisecond

// contain calls f, which calls name, and returns its error. Whatever f does, it is an
// error: inside a flight a panic would end the process, and a Goexit would leave
// everybody waiting for ever.
func (s *Session) contain(name string, f func() error) error { return contain.Run(name, s.broken, f) }

// broken logs a panic and returns the error in the place of a result that never came.
func (s *Session) broken(e *contain.Error) error {
	if e.Stack != nil {
		s.note(slog.LevelError, "panic contained", "in", e.Name, "stack", string(e.Stack))
	}
	return fmt.Errorf("%w: %w", errBroken, e)
}

// errHangs is the error in the place of the result of name, which was left behind.
func errHangs(name string) error {
	return fmt.Errorf("%w: %s did not return when its context ended: %w", errBroken, name, context.DeadlineExceeded)
}
