// Package processes is the rig of tests in which several real processes share
// sessions, and some of them are killed, stopped, out of disk space or cut off from
// their store. Its own tests do that to processes that share a store.File;
// internal/interop/fleet does it with every engine that the project ships.
//
// # Agents
//
// A process of the rig is called an agent. It is the test binary itself, started again
// with an environment variable; [Program.Main], which the package's TestMain calls, then
// never comes to the tests. An agent has one tokenclient.Session for each account, does
// what it is told on its standard input, and answers on its standard output. It ends
// when its standard input does, as a crash would: nothing outlives the test, and nothing
// is tidied up.
//
// The test's end of an agent is a [Process]. An [Order] to it begins at once, beside
// all that were given before it; [Pending] is what one of them will have answered. What
// an agent says without being asked, that it is ready and what its hooks were told, is an
// event.
//
// # The judge
//
// All agents talk to one server, in the test's own process, whose counters are the judge.
// Between them and the server stands a [Gate], which can hold a refresh before the server
// has it, and its answer once the server has rotated, and which writes down each
// presentation of a refresh token: this is the evidence of what a kill hit. Gate and
// server survive whatever happens to agents. A [World] is all of it, with the store that
// the agents share.
//
// # What it promises
//
// No agent outlives its test. What an agent says is shown if the test fails, and is
// searched for tokens in any case. A test waits for what must happen as long as
// [Patience] lasts, and how long that took decides nothing: a machine that is busy is
// slow. An agent that ends while somebody waits for it fails the test at once.
//
// # What it does not know
//
// Which store the agents share: that is up to [Program.Open], and in [Settings] the
// fields after Open's comment are there for it alone. Nor does it know what is wrong with
// an answer, beyond the few checks that everybody makes.
package processes
