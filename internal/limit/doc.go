// Package limit decides how often a token endpoint may be asked for another token, and how
// long a server is given to learn of one.
//
// Its rule: no endpoint is asked in vain more often than the bounds below, whatever servers
// answer and however many requests wait. Each bound is for one session, as long as the
// clock is not set; package tokenclient says which of its refreshes each is for.
//
// [Windows]: before its expiry. A token is refreshed in the last fifth of its lifetime,
// or the last 5 minutes if that is shorter, give or take a quarter. However short the
// lifetime is and however early the user wants it, a token is kept for three eighths
// of its lifetime.
//
// [Backoff]: after failures. The n-th failure in a row is followed by a wait that is
// drawn from 0 to 2^(n-1) seconds, and to 1 minute at most. So a session that has to have
// a token asks an endpoint that is down some 7 times in the first half minute, and 120
// times an hour after that, on average. What Retry-After asks for is waited for in full,
// up to 10 minutes.
//
// [Storm]: when the server refuses access tokens that are new. 3 refreshes at once
// and then one in 30 seconds: never more than 3 + t/30s in any time t. While it
// refuses each new token, too, the interval doubles up to an hour: never more than
// 9 + t/1h. Refreshes that helped do not count: the server accepted a request that had
// been refused, and that had asked for it. Of these there is at most one for each such
// request, one after another, and the server had to do its part in each.
//
// [Lag]: when a server refuses a token that is [Young], and may not know it yet. Before
// anything is refreshed for that the same token is tried four times in 1.5 seconds, by one
// request for all; nobody waits for longer than 2 seconds.
//
// [Retry]: what is tried until it works. The n-th wait is between half of 2^(n-1)
// seconds and all of it, and at most a minute: never more than 6 + t/30s in any time t.
//
// # Clocks
//
// The package has no clock and no timer: the time is an argument. It is read as wall clock
// time, since the monotonic clock stands still while a machine sleeps, and what expires
// does not wait for it; only the seconds of a Lag are monotonic ones, and in part those of
// [UntilDue]. A wall clock can be
// set. Each time that it is, what a bound allows at the beginning may be allowed once more.
// From the first call after that on nothing is held back for longer than a clock that is
// right could do it: 10 minutes by a Backoff, an hour by a Storm.
//
// # What it does not know
//
// Tokens, servers, sessions and locks: a generation is a number to it, and who calls
// the methods of a value from several goroutines holds a mutex of his own. Nothing
// here waits; it says until when to.
//
// How refreshes of many sessions share an endpoint is the subject of their Pool.
package limit
