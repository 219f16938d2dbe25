// Package former recognises secrets that were in use, without keeping them.
//
// A client that was given an access token may go on to send it when a session has long
// had another one. To see that such a token is none of a stranger's, the session need not
// know what it was: a hash tells. So a [Ring] takes a few bytes for each, whatever their
// length, and shows nothing to who reads the memory of the process.
//
// It remembers the last [Most]: what is older is a stranger's again. How long that is
// depends on how often there is a new one, not on time.
//
// It knows nothing of sessions, and has no lock: its owner has one.
package former

import "crypto/sha256"

// Most is how many secrets a Ring remembers.
const Most = 16

// A Ring remembers the last secrets that were added. The zero value has none. It is not
// safe for concurrent use.
type Ring struct {
	list []sum // at most Most
	next int   // the oldest one, if there are Most
}

// A sum is as much of a hash as nobody finds a second secret for. What is compared are
// hashes, so the time that it takes says nothing of a secret.
type sum [16]byte

func sumOf(secret string) sum {
	whole := sha256.Sum256([]byte(secret))
	return sum(whole[:len(sum{})])
}

// Add adds secret, in the place of the oldest one if there are Most. One that is there
// already becomes no younger.
func (r *Ring) Add(secret string) {
	switch s := sumOf(secret); {
	case r.has(s):
	case len(r.list) < Most:
		r.list = append(r.list, s)
	default:
		r.list[r.next] = s
		r.next = (r.next + 1) % Most
	}
}

// Has reports whether secret was added, and is not forgotten. r may be nil.
func (r *Ring) Has(secret string) bool { return r != nil && r.has(sumOf(secret)) }

func (r *Ring) has(s sum) bool {
	for _, known := range r.list {
		if known == s {
			return true
		}
	}
	return false
}
