package tokenclient

import "time"

// trouble is what keeps a session from its token, or from the next one. It is
// forgotten when there is another token, and most sessions never have any: nil.
// Session.mu guards it.
type trouble struct {
	left    leaving
	lookAt  time.Time // when the session may look at the store again for a token to use
	lookErr error     // what the last look ended with
	backoff backoff   // of refreshes that somebody needs
	earlier backoff   // of looks before an early refresh, which nobody needs yet
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
func (s *Session) stormLocked() *stormGuard {
	if s.storm == nil {
		s.storm = new(stormGuard)
	}
	return s.storm
}
