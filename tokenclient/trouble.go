package tokenclient

import (
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// The waits of a Pool's line.
const (
	backoffFirst = limit.BackoffFirst
	backoffMax   = limit.BackoffMax
)

// trouble is what keeps a session from its token, or from the next one. It is
// forgotten when there is another token, and most sessions never have any: nil.
// Session.mu guards it.
type trouble struct {
	left    leaving
	lookAt  time.Time     // when the session may look at the store again for a token to use
	lookErr error         // what the last look ended with
	backoff limit.Backoff // of refreshes that somebody needs
	earlier limit.Backoff // of looks before an early refresh, which nobody needs yet
}

// now is a copy of t, for reading. t may be nil.
func (t *trouble) now() trouble {
	if t == nil {
		return trouble{}
	}
	return *t
}

// troubleLocked is s's trouble, for writing.
func (s *Session) troubleLocked() *trouble {
	if s.trouble == nil {
		s.trouble = new(trouble)
	}
	return s.trouble
}

// stormLocked is what bounds the refreshes of s that a 401 asks for. Most sessions
// need none until their token has expired many times.
func (s *Session) stormLocked() *limit.Storm {
	if s.storm == nil {
		s.storm = new(limit.Storm)
	}
	return s.storm
}
