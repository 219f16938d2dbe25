// Package store keeps tokens beyond the life of a process, and lets exactly one
// process at a time exchange a refresh token.
//
// Most programs need two names: [NewFile] for a store, and [Seal] for the key that
// encrypts what is in it. The store goes into tokenclient.Config; a Session does
// the rest.
//
// # Which store
//
//   - [Memory]: tests, and programs whose users log in at every start.
//   - [File]: command-line tools, desktop programs, and services on one machine,
//     any number of processes of them at the same time.
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
//   - A [KeyWrapper] of your own: keys that never leave a service or a device.
//
// [Seal] takes the current key and older ones, which still open what they sealed.
//
// # What sealing protects, and what it does not
//
// A sealed token is of no use to those who find the file, a backup of it or a
// stolen disk, as long as they do not find the key: keep it elsewhere. A record that
// was changed, or moved to the name of another user, does not open.
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
//     long as its process lives, File lets no other one present its predecessor.
//   - After a process was killed others go on, with File at most about a second
//     after the timeout of the call that it was making.
//
// No store can prevent everything. If a process is killed, or its machine loses
// power, after the server exchanged the token and before the new one is on disk,
// then nobody has the new one: the next process presents the old one, and the
// server says whether there has to be a new login. The gap is as long as the answer
// is on its way, and some milliseconds more. Only a server that accepts the
// previous token for a while closes it.
//
// A process that is stopped, by a debugger or by SIGSTOP, in the middle of an
// exchange keeps its turn with File, because it may go on: the others wait for it,
// as long as their contexts allow. Reading, login and logout never wait for an
// exchange.
//
// # Errors
//
// Errors are of the kinds in package tokenclient. ErrNoToken means that nobody is
// logged in. ErrStoreUnavailable means that there may be a token but it cannot be
// had now: the folder cannot be read or written, a key is locked or missing, the
// disk is full, another process is at work, or ctx ended, in which case the error
// is ctx's too. ErrStoreCorrupt means that nobody can make sense of what is stored;
// a login replaces it. They name the operation and the file, and hold no secret.
package store
