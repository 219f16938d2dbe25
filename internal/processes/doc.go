// Package processes holds tests only: what happens when several real processes
// share a session through a store.File, and some of them are killed, stopped, out
// of disk space or without permission. Each test runs its processes against one
// server in the test's own process, whose counters are the judge. A process is the
// test binary itself, started again with an environment variable that makes it an
// agent: it has one tokenclient.Session and does what it is told on its standard
// input.
package processes
