package limit

import (
	"slices"
	"time"
)

// The waits of a [Lag]: four tries, each of which comes twice as long after the last one as
// that did after the one before.
const (
	lagAge   = 5 * time.Second
	lagFirst = 100 * time.Millisecond
	lagTries = 4
	lagMost  = 2 * time.Second // from the first refusal on
)

// maxLagging is at how many servers a Lag waits.
const maxLagging = 8

// Young reports whether a token is so young that there may be servers that do not know of it
// yet: it is not 5 seconds old. As little in the future is young too, for it may be another
// machine's clock that says when it was made.
func Young(made, now time.Time) bool {
	age := now.Round(0).Sub(made.Round(0))
	return -lagAge < age && age < lagAge
}

// A Lag says when one generation, which is young, is sent again to servers that refused it
// and may not know of it yet. At each server one request of all that were refused tries
// that for the others, 0.1, 0.3, 0.7 and 1.5 seconds after the first refusal; and nobody
// waits for longer than 2 seconds after it, however long answers take. After that a
// refusal is one. The zero Lag is that of a generation that was not refused.
//
// The time must have a monotonic reading, unlike elsewhere in this package: nothing here
// is to last for longer because a clock is set, and what is 2 seconds need not count the
// sleep of a machine.
type Lag struct {
	servers []lagging
}

// lagging is one server.
type lagging struct {
	name   string
	until  time.Time // the end of all waits
	next   time.Time // of the next try
	wait   time.Duration
	tries  int
	trying bool // one is under way
	over   bool // it refuses for good
	known  bool // it takes the token
}

// A LagAnswer is what somebody does who was refused.
type LagAnswer uint8

const (
	LagOver  LagAnswer = iota // go on as if the token was not young
	LagWait                   // until the time that is returned, or until somebody has tried
	LagTry                    // send the request again. Tried must follow
	LagKnown                  // send the request again: by now the server takes the token
)

// Ask is for a request that server refused, and asked again after each wait. canTry says
// whether it can be sent again more than once: who cannot waits for others that can,
// and for nothing if there are none.
func (l *Lag) Ask(server string, canTry bool, now time.Time) (a LagAnswer, until time.Time) {
	i := slices.IndexFunc(l.servers, func(x lagging) bool { return x.name == server })
	if i < 0 && canTry && len(l.servers) < maxLagging {
		i = len(l.servers)
		l.servers = append(l.servers, lagging{name: server, until: now.Add(lagMost), next: now.Add(lagFirst), wait: lagFirst})
	}
	if i < 0 {
		return LagOver, time.Time{}
	}
	x := &l.servers[i]
	switch {
	case x.known:
		return LagKnown, time.Time{}
	case x.over, !now.Before(x.until):
		return LagOver, time.Time{}
	case x.trying, !canTry, x.tries == lagTries:
		return LagWait, x.until
	case now.Before(x.next):
		return LagWait, x.next
	}
	x.wait *= 2
	x.next = now.Add(x.wait)
	x.tries++
	x.trying = true
	return LagTry, time.Time{}
}

// Knows reports whether there were waits for server, or are.
func (l *Lag) Knows(server string) bool {
	return slices.ContainsFunc(l.servers, func(x lagging) bool { return x.name == server })
}

// A LagResult is what came of a try.
type LagResult uint8

const (
	LagFailed   LagResult = iota // there was no answer
	LagRefused                   // the server refuses the token still
	LagAccepted                  // it does not any more
)

// Tried notes what came of a try, upon which those who wait look again.
func (l *Lag) Tried(server string, r LagResult) {
	i := slices.IndexFunc(l.servers, func(x lagging) bool { return x.name == server })
	if i < 0 {
		return
	}
	x := &l.servers[i]
	x.trying = false
	x.known = x.known || r == LagAccepted
	x.over = x.tries == lagTries && !x.known
}

// Clone returns a copy that shares nothing with l.
func (l *Lag) Clone() Lag { return Lag{slices.Clone(l.servers)} }
