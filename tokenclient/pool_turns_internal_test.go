package tokenclient

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

// TestPoolOutcome: what a Pool learns of a token endpoint from the end of a presentation.
func TestPoolOutcome(t *testing.T) {
	old := &Token{AccessToken: "a", RefreshToken: "r"}
	for _, c := range []struct {
		err  error
		want turns.Outcome
	}{
		{nil, turns.Outcome{Answer: turns.Served}},
		{&TokenError{StatusCode: 429}, turns.Outcome{Answer: turns.TooMany}},
		{&TokenError{StatusCode: 429, RetryAfter: time.Hour}, turns.Outcome{Answer: turns.TooMany, RetryAfter: time.Hour}},
		{&TokenError{StatusCode: 503, RetryAfter: time.Second}, turns.Outcome{Answer: turns.Down, RetryAfter: time.Second}},
		{&TokenError{StatusCode: 500}, turns.Outcome{Answer: turns.Down}},
		{&TokenError{StatusCode: 400, Code: "invalid_grant", Err: ErrLoginRequired}, turns.Outcome{Answer: turns.Served}},
		{&TokenError{StatusCode: 302}, turns.Outcome{}}, // somebody on the way
		{asTokenError(errors.New("connection reset"), old), turns.Outcome{Answer: turns.Down}},
		{asTokenError(fmt.Errorf("dial: %w", ErrNotPresented), old), turns.Outcome{Answer: turns.Down}},
		{asTokenError(ErrAnnounced, old), turns.Outcome{}},
		{errors.New("anything else"), turns.Outcome{}},
	} {
		if got := outcome(c.err); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.err, got, c.want)
		}
	}
}
