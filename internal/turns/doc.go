// Package turns lets many waiters that need the same few endpoints take turns. An
// endpoint then gets a bounded number of attempts at a time, is left alone for a while
// when it asks for that, and gets what can wait at an even rate.
//
// [Lines] has a line for each endpoint. Lines know nothing of each other. An attempt is
// one call of an endpoint; the package does not know what it does, or how. Nor does it
// know what an endpoint or a waiter is: both are keys that can be compared.
//
// # Lines
//
// An attempt is made in a [Turn]. A line has as many turns as [New] was told. Who finds
// none free waits, and turns are given in the order in which waiters came. Two kinds of
// waiters go before all others: one that has had a turn and needs another one at once,
// and one in a hurry.
//
// A waiter is in a hurry if it is waited for in somebody else's turn ([Lines.Hurry]). Each
// could be waiting for the other, so the one in a hurry gets a turn at once, even if that
// is one more than there are.
//
// A turn is taken before the attempt is ready to begin, because an attempt that is ready
// must not wait any more. If the attempt has not begun after a second, the turn goes to
// somebody else. Who is ready too late gets another turn, which comes first and lasts
// twice as long, up to a minute. Slow preparations are therefore slow, but no dead end.
//
// # Strikes
//
// A line learns from what attempts came to, their [Outcome].
//
// An endpoint that says "too many" may mean one waiter or all of them. So all wait, as
// long as it asked for but not for long, and then one goes. If that one succeeds, others
// follow, one more at a time with each success. If it is refused as well, all wait longer.
// The first wait is at most 5 seconds, the longest a minute. When several attempts that
// were under way at the same time are refused, the first refusal counts.
//
// An endpoint that is down gets fewer attempts at a time with each failure, down to one,
// and one more with each success.
//
// A line that nobody is in is forgotten, with all that it has learned.
//
// # Pace
//
// An attempt that can wait is handed to [Lines.WhenRoom]. It gives way to all who are in
// line, and begins only where a turn is free. Apart from that it begins in time: within a
// quarter of the time that is left for it, and within a minute.
//
// Such attempts come in waves and leave spread out. The rate at which they begin is the
// highest of these:
//
//   - seven tenths of the rate at which they came lately. What is kept back goes when the
//     wave is over, so that a wave leaves lower and longer than it came.
//   - what the queue needs for each to begin in time. The one that has the least time goes
//     first, and makes the others go no faster.
//   - a little less than the rate was just now, as long as there is a queue.
//   - ten a second.
//
// It needs no look ahead. When the tokens of very many users expire in the same minute,
// the busiest second of their refreshes has less than one and a half times the average.
//
// # What is promised
//
//   - Bounds: no line has more turns taken than New was told, but for those of waiters in
//     a hurry. Memory is that of endpoints that somebody uses just now and of who waits.
//   - Order: first come, first served, but for the two kinds above. Attempts that can wait
//     are in the order in which they must begin.
//   - Fairness: nobody waits behind others who came later, but for the same two. Only the
//     context bounds a wait in line.
//   - End: after [Lines.Close] nobody waits and nothing more begins. No timer is left but
//     those of turns that are still taken, each of which ends with its turn. The package
//     has no goroutines but those of its timers.
//   - Locks: no function of the caller's is called with a lock held.
//
// The clock is that of package time.
package turns
