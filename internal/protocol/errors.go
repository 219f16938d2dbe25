package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A kindError is an error of a kind that callers branch on, with a text of its own: that of
// the kind, "store locked or unavailable", is not what somebody needs to read whose store was
// closed, or has the wrong key.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// Unavailable returns err as an error that is tokenclient.ErrStoreUnavailable, too.
func Unavailable(err error) error {
	if errors.Is(err, tokenclient.ErrStoreUnavailable) {
		return err
	}
	return &kindError{tokenclient.ErrStoreUnavailable, err}
}

// Corruptf returns an error that is tokenclient.ErrStoreCorrupt.
func Corruptf(format string, args ...any) error {
	return &kindError{tokenclient.ErrStoreCorrupt, fmt.Errorf("corrupt record: "+format, args...)}
}

// withRemedy says what to do about a record that nobody can make sense of.
func withRemedy(err error) error {
	if !errors.Is(err, tokenclient.ErrStoreCorrupt) {
		return err
	}
	return fmt.Errorf("%w: log in again, which replaces the record", err)
}

// Place says whose record it is, and where, in errors. The key is quoted as package
// tokenclient quotes it, which thereby finds it where it must not show.
func Place(key, where string) string {
	switch {
	case key == "":
		return where
	case where == "":
		return fmt.Sprintf("key %q", key)
	}
	return fmt.Sprintf("key %q (%s)", key, where)
}

// fail gives an error of the medium or the sealer its place, and its kind, if it has none
// yet.
func (e *Engine) fail(ctx context.Context, op, key string, err error) error {
	where := e.Medium.Where(key)
	if key != "" && strings.Contains(err.Error(), where) {
		where = "" // it says so itself
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) && !errors.Is(err, tokenclient.ErrStoreCorrupt) {
		err = fmt.Errorf("%w (%w)", err, ended) // media may have words of their own for it
	}
	err = fmt.Errorf("store: %s %s: %w", op, Place(key, where), err)
	if errors.Is(err, tokenclient.ErrStoreCorrupt) {
		return err
	}
	return Unavailable(err)
}
