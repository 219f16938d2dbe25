// Package store keeps tokens beyond the life of a process, and lets exactly one
// process at a time exchange a refresh token.
//
// Most programs need two names: [NewFile], or [NewShared] for several machines, for a
// store, and [Seal] for the key that encrypts what is in it. The store goes into
// tokenclient.Config; a Session does the rest.
//
// # Which store
//
//   - [Memory]: tests, and programs whose users log in at every start.
//   - [File]: command-line tools, desktop programs, and services on one machine,
//     any number of processes of them at the same time.
//   - [Shared] over package sqlstore or redisstore: services on several machines, or
//     in containers, that have a database or Redis in common anyway.
//   - Shared over a [KV] of your own, two methods: other engines that can compare and
//     swap. storetest.RunKV tests it.
//   - Shared over [SingleProcess]: storage that can only put and get, such as an app's
//     preferences on a phone, of a program that surely runs once.
//
// File needs a local disk. Network file systems such as NFS give locks, renames
// and cached reads another meaning, so that two machines could exchange the same
// token, and are not supported. Nor can a File be shared with programs in a virtual
// machine or container unless they see the same file system of the same kernel.
//
// # Which key
//
//   - [LoadOrCreateKeyFile]: command-line tools and desktop programs that nobody
//     should have to set up.
//   - [KeyFile], [KeyEnv]: services that get their secrets by a mounted file or the
//     environment.
//   - [Passphrase]: programs whose user types one; nothing is kept that opens the
//     tokens without it.
//   - [KeyBytes]: keys from anywhere else.
//   - Package keyring: desktop programs whose user has a keyring, such as the Keychain
//     of macOS or the Secret Service. It keeps the key; the tokens are in a File.
//   - A [KeyWrapper] of your own: keys that never leave a service or a device.
//
// [Seal] takes the current key and older ones, which still open what they sealed.
//
// # What sealing protects, and what it does not
//
// A sealed token is of no use to those who find the file, a backup of it or a
// stolen disk, as long as they do not find the key: leave it out of that backup, and
// keep it off that disk if you can. A record that was changed, or moved to the name of
// another user, does not open.
//
// Sealing does not protect from programs of the same user on the same machine:
// what this program can read, they can. It does not hide which records there are,
// when they were written, or how many refreshes there were. And it does not notice
// when a whole store is put back as it was earlier: the records are genuine. The
// sessions that still have the newer token in memory mend that by writing it again;
// otherwise the server refuses a token that was exchanged long ago, and a login is
// needed.
//
// # What is guaranteed between processes
//
// Servers that rotate refresh tokens end the session when a token is presented
// that was exchanged already. So what must never happen is that two processes
// present the same one. All stores here follow one protocol:
//
//   - Before a process presents a refresh token, it writes down that it is about
//     to. A token that nobody wrote that about was never presented.
//   - The same token is presented a second time only if an answer may have been
//     lost: the process that waited for it was killed, or the connection broke.
//     Each presentation is written down before.
//   - A new token is stored over the one that it was made from, and never over a
//     newer one, another login, or a logout. Whoever loses such a race gets what
//     is stored, and deletes nothing.
//   - A token that was received but cannot be stored is used and stored later. As
//     long as its process lives, File lets no other one present its predecessor;
//     Shared does until the hold has run out.
//   - After a process was killed others go on: with File at most about a second
//     after the timeout of the call that it was making, or sooner by [FileOptions]
//     if the token endpoint is known to drop the request; with Shared after its hold,
//     as below.
//
// No store can prevent everything. If a process is killed, or its machine loses
// power, after the server exchanged the token and before the new one is stored,
// then nobody has the new one: the next process presents the old one, and the
// server says whether there has to be a new login. The gap is as long as the answer
// is on its way, and some milliseconds more. Only a server that accepts the
// previous token for a while closes it.
//
// A process that is stopped, by a debugger or by SIGSTOP, in the middle of an
// exchange keeps its turn with File, because it may go on: the others wait for it,
// as long as their contexts allow. On Linux the kernel tells them that it is over
// (inotify); elsewhere they look, and wait a tenth longer than it takes. Reading, login
// and logout never wait for an exchange.
//
// # What is guaranteed between machines
//
// An engine that several machines use has no locks that end with a process. With
// Shared the record says that somebody holds it, and for how long: the timeout of the
// call, 20 seconds unless tokenclient.Config says otherwise, and the margin, 10
// seconds unless [SharedOptions] do; 30 seconds together. No clocks are compared. Who
// meets a hold looks again after a millisecond, then ever less often, up to once a second,
// and takes over when the record has not changed for as long as it says, by the own clock
// and counted from the own first look. The holder counts from before it wrote the
// claim, and presents the token only if there is time left for the whole call and one
// second, or half the margin if that is less. So in ordinary operation the others
// wait a tenth longer than the refresh takes, and less if the engine wakes them (a
// [Notifier]: Redis, PostgreSQL with sqlstore.Options.Listen, and SQLite on Linux);
// after a process was killed while it held the key, one of them goes on after 30
// seconds, and after a call that got no answer within its timeout, after the 10 seconds
// of the margin: its request may have left late. Requests wait for that only if the
// access token has expired.
//
// A holder that was stopped or cut off from the engine for longer than its hold is in
// the place of a dead one: the others cannot tell. They take over, and may present the
// token again, which is announced as always. Beside the gap that every store has, as
// above, the session can be lost only if between the announcement and the save the
// holder
//
//   - was stopped for longer than the hold after its last look at the clock and before
//     the request left, or
//   - was stopped, or cut off from the engine, for longer than the hold after the
//     request left, or
//   - died, and the server handled its request after the hold had run out,
//
// and even then only if another process has presented the token meanwhile. If none
// has, the late holder's token is stored and nothing is lost. Stopped means SIGSTOP, a
// debugger, a paused container, a virtual machine that is moved, or a laptop that
// sleeps. A fault at any other moment costs no session, however the engine loses,
// delays or repeats what it is told. A longer margin makes the window rarer and the
// wait after a crash longer; it vanishes only with a server that accepts the previous
// token for a while. To use that, choose timeout and margin to fit into that time.
//
// If the engine cannot be reached, nobody refreshes, because nothing can be announced.
// Requests go on with the access token as long as it is good, then fail with
// ErrStoreUnavailable, and work again when the engine is back. A call to the engine is
// given up after 5 seconds. What was written must survive a crash of the engine: if it
// comes back with an older record, that holds a spent token, which only those mend who
// still have the newer one in memory. So set it up to write to disk before it answers,
// and to fail over only to replicas that have everything. A newer token in memory mends
// an older record of the same login only. A record that is gone counts as logged out,
// for all processes and whatever they have in memory, so do not empty the table, or
// flush the database, of an engine in use.
//
// All processes need the same keys: one that logs in with another key locks the others
// out. They may have different timeouts and margins; the longest hold is what the others
// wait for when its holder has died.
//
// # Errors
//
// Errors are of the kinds in package tokenclient. ErrNoToken means that nobody is
// logged in. ErrStoreUnavailable means that there may be a token but it cannot be
// had now: the folder cannot be read or written, the engine does not answer, a key is
// locked or missing, the disk is full, another process is at work, or ctx ended, in
// which case the error is ctx's too; an engine that did not answer within 5 seconds is
// context.DeadlineExceeded as well. ErrStoreCorrupt means that nobody can make sense
// of what is stored. They name the operation, the key as the program knows it, and the file or
// the record's key in the engine. They hold no secret, and name neither account nor host of an
// engine: those are in the causes alone, for [errors.As]. What a program did wrong, such as to
// store no token, or one of more than 15 MiB with its Extra and Audiences, is of neither kind.
// What a refresh brought is stored without these then.
//
// A login replaces what is stored even if that cannot be read, and nothing else does. That
// goes for a corrupt record, for one whose key is missing, and for one that a later version
// of this package wrote in a newer format: an older program leaves it alone, and fails with
// ErrStoreUnavailable, until somebody logs in there. File keeps the bytes of records whose
// header it did not understand.
package store
