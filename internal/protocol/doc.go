// Package protocol is how several processes, on one machine or on many, share one
// refresh token that is good for a single use. They have nothing in common but a place
// that can read and compare-and-swap a record, and they do not agree on the time.
//
// A server that rotates refresh tokens answers each with a new pair, and ends the whole
// session when a token comes a second time. So two processes must never present the same
// token, and the new pair must never be lost. [Engine] sees to both, as far as anybody
// can. It is a tokenclient.Store over a [Medium], which package store implements for
// files, databases and memory. The contract with the callers is that of
// tokenclient.Store.
//
// # The record
//
// For each key there is one [Record]. Its header is in the clear, because a waiter
// judges a claim without the key; the token is sealed.
//
//   - The write id is random and new in every write. Equal bytes are therefore the same
//     write, a compare-and-swap can never be deceived by a value that came back, and a
//     writer whose reply was lost finds out by reading.
//   - The era is the write id of the login or logout that began it. The number is 1 at
//     login, and one more with each token that is stored after that. Era and number
//     alone decide what a record means and what may be written over it. The text of a
//     token never does: it may as well come from an old backup.
//   - The state is active, logged out, or refused. The latter two are tombstones.
//     Nothing is ever deleted: absent is the one value that recurs, and a login that was
//     on its way for long would find it and undo a logout. A record is absent only
//     before the first login, and only a login, a logout or a start creates one.
//   - Announced counts the presentations of this token that were written down before
//     they were made, less those that were taken back.
//   - The lease says who holds the key, by an id that is new for every hold, and for how
//     long. A hold decides nothing but who may present the token.
//
// # Refresh
//
// The caller says which record it has seen. Refresh reads, and reads again after every
// wait and every write that may have failed, until one of these is so:
//
//   - The record is absent or a tombstone: there is nothing to refresh.
//   - Its era is another, or its number higher, than what was seen: it is returned,
//     without a claim. So of many processes that met the same 401 most never hold the
//     key.
//   - Its number is lower: the store was rolled back, and what was seen is written
//     again.
//   - Nobody else holds it. Then it is claimed: one compare-and-swap takes the lease and
//     announces the presentation, so nobody holds the key without having announced.
//
// Whatever can fail before the token is spent is done before the claim: to open it, and
// to make the key that seals the next one. The claim itself is the proof that the store
// can be written. After it, fn presents the token of the record that was just written,
// once, and its outcome decides:
//
//   - A new pair is saved, as below.
//   - A refusal makes the record a tombstone, if it still holds the token that was
//     refused. If somebody else has claimed that token meanwhile, it is waited for:
//     perhaps it was the one who exchanged it. A refusal that cannot be written down is
//     remembered, and the token not presented again.
//   - If the token was certainly not spent, the hold is freed and the announcement taken
//     back. It was not spent if nothing was sent or if the answer is a complete 4xx. A
//     5xx leaves doubt, since a proxy sends it after the server behind it has rotated,
//     too.
//   - In doubt the announcement stays. If it was the time that ran out, the hold stays
//     too, until the server cannot be at work on the request any more. If the answer was
//     a complete success that brought no token, the hold stays for a second.
//
// For a second presentation the caller calls Refresh again, which makes another claim
// and another announcement. A count of announcements never ends a session; only the
// server does.
//
// # The save of a new pair
//
// The pair has number n+1 if it was made from number n, and goes over whatever record of
// its era has a number of n or less: be it claimed by somebody else, refused, or rolled
// back. To insist on the own hold would be wrong: a holder that stood still for too long
// is often the only one who has the pair that works. If another era is stored, the pair
// is nobody's and is to be revoked. If a higher number is, it is dropped and not
// revoked, because to revoke it may end the session of the one that is stored.
//
// All tries are the same write, with the same write id. If they fail for some seconds,
// the caller gets a NotSavedError, and the turn stays with it. Until that is settled
// this process presents nothing for the key.
//
// # Save
//
// Save stores a token without a presentation: a pair whose answer came when the call had
// been given up, or a token that the server sent by itself. It takes no turn and waits
// for nobody. A pair with a refresh token of its own goes wherever the save of a refresh
// goes. A token that keeps the refresh token of the record is worth less, and must not
// do harm:
//
//   - Not while more presentations are announced than the caller knows to be over.
//     Somebody may be exchanging that refresh token, and would find the number of the
//     new pair taken; and a number that begins with no announcements would hide that it
//     may be spent.
//   - Not over its refusal.
//   - It leaves nothing pending. Who took it for stored, and so for the newest number,
//     would later mend the store with it, over the claim of somebody else.
//
// # Login and logout
//
// They look at no hold and never wait. The record that begins an era is written over
// whatever is there, and a refresh under way finds the other era when it saves. A write
// that may have been lost is repeated only while the era is the one that was read first;
// otherwise a login could be repeated over a later logout, and would undo it.
//
// A session that needs no login starts with an empty token. Nobody has asked for that, so it
// is a Save that goes over an absent record and nothing else. A login or logout that finds a
// start in its way goes over it, if it is known not to have been done before.
//
// # Urgent operations
//
// A Medium may bound how many operations are under way at a time, and have the others wait
// in line. Then some go before others, and are marked by [Urgent]: whatever follows a
// presentation, the save of a pair whose predecessor is spent, and logins and logouts. Reads
// and claims are not among them. A claim that waits costs time; a pair that waits is lost if
// the process ends.
//
// # Time
//
// Times of other machines are never compared. The record says how long a hold lasts, not
// when it ends.
//
//   - A waiter counts from when it has first read these very bytes, by its monotonic
//     clock, and takes over when they have not changed for as long as they say. A
//     process that has just started has seen nothing yet and waits for all of it.
//   - A holder counts from before it issued the claim. The age is the larger of what the
//     monotonic and the wall clock say, because the former stops while a machine sleeps;
//     if the wall clock went back nothing is known. It presents only if what is left of
//     the hold is enough for the whole call and a reserve, and claims anew otherwise.
//   - A claim that was only found by reading has no age. It is written again, but not
//     announced again: its lease id tells that the announcement is in the record.
//   - No hold is believed to be longer than two hours, which is the longest call and the
//     longest margin: who can write to the store has no key, and could forge one of weeks.
//   - A hold is as long as the call and a margin. So nobody renews one, a call that
//     hangs cannot keep the key for ever, and the request of a holder that died is over
//     before the next one presents.
//   - The context of a call that was sent ends with the time of the call, not with its
//     caller and not with the hold: an answer that is thrown away is a lost session.
//
// Where a lock says who holds the key and the kernel frees it at death, the [Turn] is
// that lock, held during fn. It cannot be lost while its holder stands still, so others
// wait for it as long as their contexts last. All else stays as it is. A claim that is
// found under the lock is that of a dead holder, and its request is waited for.
//
// A caller may know that a request has no effect when its process has been dead for some
// time, which is less than what is left of the hold ([Record.Outlives]). To go by that, a
// Turn has to know that the holder has died: it keeps the lock of a call that was given up
// as long as the request may be at work, and believes only claims of holders that do.
//
// # What always holds
//
//	P1  No refresh token is presented more often than once, and once more for each answer
//	    that may have been lost; and no presentation was not announced before it was made.
//	P2  The newest pair is stored, or in the hands of somebody who still tries to store it.
//	P3  When a hold has run out somebody can go on, and nobody waits for its own.
//	P4  A session that was logged out never comes back, in no process; no refresh overwrites
//	    a login; no write takes effect twice.
//	P5  Nobody ends a session whose token the server did not refuse, and who loses a race
//	    deletes nothing of the winner's.
//	P6  After a crash others go on when the hold has run out, and the session is lost only in
//	    the gaps below.
//
// The simulation of this package's tests plays these processes, with crashes, stops,
// sleeping machines, clocks that are set, cut connections, and writes that are lost,
// late or done twice, and judges them by this list. It also plants the mistakes that
// these rules are there for, one by one, and must find each. The rules without the code
// were checked by a model checker, state by state.
//
// # What no lease can prevent
//
// To look at the clock and to send is not one act, the server knows nothing of holds,
// and nobody can tell a process that stands still from one that is dead. So a token can
// be presented a second time, though another has or would have had the good pair, if its
// holder, after its announcement and before its save,
//
//   - stood still for longer than the hold between the last look at the clock and the
//     packet;
//   - stood still, or was cut off from the store, for longer than the hold after that;
//   - died, and the server handled its request later than the timeout of the call.
//
// Even then nothing is lost unless another has presented meanwhile. And if the holder
// dies between the server's exchange and the save, the pair is gone whoever does what. A
// server that accepts the previous token for a while closes these gaps. A lock instead
// of a lease closes the first two, at the price that others wait while its holder is
// stopped. Of the first a crack is left: who went on gives the call up, because its time is
// over, though the request has just left, and frees the lock; others wait for the margin.
//
// # What this package does not know
//
// It knows neither sessions nor what a token is good for: when to refresh, how often to
// try, and what to tell the program is for tokenclient. Nor does it know files,
// databases or keys.
package protocol
