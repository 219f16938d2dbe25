// Package simulation_test runs the whole library (Transport, Session, Pool, early refreshes,
// renewal by the server, and the stores) in histories where everything goes wrong that can,
// and judges what comes of it. It has tests alone.
//
// A history is drawn from its seed: what the program is like (how many processes, which store,
// a Pool or not), steps (requests, logins, logouts, restarts, revocations, outages), and what
// becomes of each message. It runs in a bubble of testing/synctest: time is virtual, and there
// are no sockets, since the network is a RoundTripper.
//
//   - world_test.go has the scheduler. Everything that leaves a process is an operation, and
//     one operation at a time comes to pass, whenever everybody else waits. So a history is the
//     same each time, but for the order in which the library's goroutines go on at one moment.
//   - plan_test.go draws what a history is made of, and fates_test.go what becomes of messages.
//   - play_test.go runs one, and simulation_test.go as many as are wanted.
//   - proofs_test.go has what tokens that are bound to a key need, and nonces_test.go what servers want of them.
//   - audiences_test.go has logins with a token for each of two APIs.
//   - stepup_test.go has APIs that want more than a good token, and who logs in for that.
//   - server_test.go is the authorization server and the API, present_test.go and wire_test.go
//     the network before them, store_test.go and file_test.go the stores and what goes wrong with them,
//     process_test.go a process of the program, steps_test.go what it does, kill_test.go its
//     sudden end, stand_test.go how it stands still, keys_test.go the keys that it seals with, and
//     clock_test.go its clock.
//   - judge_test.go and the files judge_…_test.go have the invariants.
//   - shrink_test.go makes a history that fails as short as it gets; bugs_test.go plants bugs,
//     each of which is to be found; reference_test.go compares the library with a client that
//     is obviously correct; proof_test.go writes docs/proof.md.
//
// A process that stands still is cut off from the world until it goes on, when its clock has gone
// on: stand_test.go says what of that is as it is, and what is not.
//
// The clock of a process may differ from those of others, and may be set while it does not run,
// but not while it runs, nor do its timers stand still while its clock goes on. What decides in
// tokenclient is given the time; but a Session, a Pool and the reading of an answer take it from
// package time, as do timers and contexts, and what a Session holds has times in it that were
// taken before. To set the clock under them would take a seam in tokenclient that nothing but
// this test uses.
package simulation_test
