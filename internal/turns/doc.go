// Package turns lets many who need the same few endpoints take turns, so that an
// endpoint gets no more attempts at a time than it should, hears nothing for a while
// when it asks for that, and gets what can wait at an even rate.
//
// [Lines] has a line for each endpoint; lines know nothing of each other. An attempt is
// one call of an endpoint. What it is, and how it is made, the package does not know.
// Nor does it know what an endpoint or a waiter is: both are keys that can be compared.
//
// # Lines
//
// An attempt is made in a [Turn]. A line has as many turns as [New] was told; who finds
// none free waits, and is served in the order in which all came. Two go before: who has
// had a turn already and needs another one at once, and who is in a hurry.
//
// In a hurry is who is waited for in somebody else's turn ([Lines.Hurry]). Each could be
// waiting for the other, so that one gets a turn at once, beyond the limit.
//
// A turn is taken before the attempt is ready to begin, because when it is ready it must
// not wait any more. A turn whose attempt does not begin within a second goes to somebody
// else. Who comes too late tries again in another turn, which comes first and lasts twice
// as long, up to a minute: slow preparations are no dead end.
//
// # Strikes
//
// What an attempt came to is an [Outcome], and a line learns from it.
//
// An endpoint that says "too many" may mean one waiter or all of them. So all wait, as
// long as it asked for but not for long, and then one goes: if that succeeds the others
// follow, one more at a time with each success, and if it is refused again all wait
// longer. The first wait is 5 seconds at most, and the longest a minute. Refusals of
// attempts that were under way when the last one came say nothing new.
//
// Of an endpoint that is down less is asked with each failure, down to one attempt at a
// time. It goes up again with each success.
//
// A line that nobody is in is forgotten, with what it has learned.
//
// # Pace
//
// An attempt that can wait is handed to [Lines.WhenRoom], which begins it in time: within
// a quarter of the time that is left for it, and within a minute. Such attempts come in
// waves, and leave spread out. They begin
//
//   - at seven tenths of the rate at which they came lately: what is kept back goes when
//     the wave is over, so that a wave leaves lower and longer than it came;
//   - faster, if the queue needs it lest somebody waits for too long. Who has less time
//     than others goes first and hurries nobody else;
//   - no slower than a little while ago, as long as there is a queue;
//   - without any wait below ten a second.
//
// A wave of a hundred thousand whose time comes within some minutes leaves with a
// busiest second of less than one and a half times the average. They give way to all who
// are in line, and begin only where a turn is free.
//
// # What is promised
//
//   - Bounds: at most so many turns at a time in each line, except for who is in a hurry.
//     Memory is that of the endpoints that somebody uses just now, and of who waits.
//   - Order: first come, first served, but for the two cases above. The attempts that can
//     wait are in the order in which they must begin.
//   - Fairness: nobody waits for ever behind others who came later. A wait in line
//     has no other bound than the context.
//   - Ends: after [Lines.Close] nobody waits, nothing begins and no timer is left but
//     those of turns that are still taken, each of which ends with its turn. The package
//     has no goroutines but those of its timers.
//   - Locks: no function of the caller's is called with a lock held.
//
// The clock is package time's, so that tests in a bubble of testing/synctest need no wait.
package turns
