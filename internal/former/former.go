// Package former recognises secrets that were in use, without keeping them.
//
// A client that was given an access token may go on to send it when a session has long
// had another one. To see that such a token is none of a stranger's, the session need not
// know what it was: a hash tells. So a [Chain] takes a few bytes for each, whatever their
// length, and shows nothing to who reads the memory of the process.
//
// It remembers the last [Most]: what is older is a stranger's again. How long that is
// depends on how often there is a new one, not on time.
//
// It knows nothing of sessions, and has no lock: its owner has one.
package former

import "crypto/sha256"

// Most is how many secrets a Chain remembers.
const Most = 16

// A Chain remembers the last secrets that were added, the newest first. Nil has none. It
// is a list, because most have one, and there are as many as sessions.
type Chain struct {
	sum   sum
	older *Chain
}

// A sum is as much of a hash as nobody finds a second secret for. What is compared are
// hashes, so the time that it takes says nothing of a secret.
type sum [16]byte

func sumOf(secret string) sum {
	whole := sha256.Sum256([]byte(secret))
	return sum(whole[:len(sum{})])
}

// With returns c with secret as the newest one, which c may not be used beside. If there
// are too many the oldest is forgotten. One that is there already becomes no younger.
func (c *Chain) With(secret string) *Chain {
	s := sumOf(secret)
	if c.has(s) {
		return c
	}
	c = &Chain{s, c}
	last := c
	for n := 1; n < Most && last.older != nil; n++ {
		last = last.older
	}
	last.older = nil
	return c
}

// Has reports whether secret was added, and is not forgotten.
func (c *Chain) Has(secret string) bool { return c != nil && c.has(sumOf(secret)) }

func (c *Chain) has(s sum) bool {
	for ; c != nil; c = c.older {
		if c.sum == s {
			return true
		}
	}
	return false
}
