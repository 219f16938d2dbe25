// Package alarm tells whether a time of day has come, for those who ask so often that they
// feel what it costs to read a clock.
//
// An [Alarm] whose time is far away, and that is asked often, is quiet for a tenth of a second
// each time that it has read the clock: it says no, and reads none. A timer ends that. Who
// asks less than five times a second has no timer, and none is left of an Alarm that nobody asks
// any more.
//
// The answer is that of the wall clock, which goes on while a machine sleeps, as those of servers
// do. While nobody sets that clock, the machine does not sleep, and timers are in time, it is
// the same as if the clock had been read. Otherwise a yes may be late, by the tenth of a second
// in which the machine was awake. A yes is never early: it comes from the clock alone.
//
// The package knows nothing of tokens. In a bubble of testing/synctest all is exact, as long as
// an Alarm is asked in one bubble only.
package alarm

import (
	"sync/atomic"
	"time"
)

const (
	rest  = 100 * time.Millisecond // how long an Alarm is quiet
	often = 2 * rest               // if it reads the clock twice within less
)

// An Alarm is for one time of day. The zero Alarm is ready. It is safe for concurrent use, and
// must not be copied.
type Alarm struct {
	quiet atomic.Bool   // a timer will end that
	read  atomic.Uint32 // when the clock was read last, in milliseconds after since, and one more; 0: never
}

// Due reports whether at has come, which has no monotonic reading. since is the same in all
// calls, and was once read from [time.Now].
func (a *Alarm) Due(at, since time.Time) bool {
	return !a.quiet.Load() && a.look(at, since, time.Now())
}

func (a *Alarm) look(at, since, now time.Time) bool {
	left := at.Sub(now)
	if left <= 0 {
		return true
	}
	ms := uint32(now.Sub(since).Milliseconds()) + 1
	last := a.read.Swap(ms)
	again := last != 0 && time.Duration(ms-last)*time.Millisecond < often
	if again && left > rest && a.quiet.CompareAndSwap(false, true) {
		time.AfterFunc(rest, func() { a.quiet.Store(false) })
	}
	return false
}
