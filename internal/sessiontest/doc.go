// Package sessiontest is the rig of the tests of package tokenclient: a session that is
// wired to a server, and the things that a test puts in the places of its parts. Tests
// import it, and nothing else does. It has what tests of several subjects need,
// beside the code and in tokenclient/behaviour; a rig for one subject stands with its tests.
//
// # A session and a server
//
// A [Rig] is a session, a client whose requests carry its token, and the server that
// both talk to.
//
//	r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
//	r.Login(t)
//	r.Server.RevokeAccess("alice")
//	r.WantGet(t, 200)       // refreshed on the way
//	r.WantRefreshes(t, 1)   // as the server has counted
//
// [New] starts a tokentest.Server, whose counters are the judge. With InMemory its network
// is one of package net's pipes, so that the test can run in a bubble of testing/synctest;
// without, it is a port of this machine. [NewFake] has a function in the place of the API
// and another in that of the token endpoint. [Rig.Another] is a second session for the same
// server, as another process has one. [LoggedIn] is a session alone, for tests of a
// Transport over a base of their own: it holds [Access](0), and each refresh brings the next.
//
// What is started is closed at the end of the test, and a Close that fails fails the test.
//
// # Its parts
//
//   - [RoundTrip] is a function in the place of a network, [Base] a transport that keeps
//     the contract of http.RoundTripper to the letter and looks whether others do, and
//     [Request] a caller's request, with everything in it that has to be the same afterwards.
//   - [StepStore] and [StepRefresher] can be stopped at a [Barrier] between any two of
//     their steps, and a StepStore made to fail.
//   - [AttacherFunc] is a function as an Attacher.
//
// # Checks
//
// A function or method that is named Want… fails the test, and says what it found. Those
// with t.Fatal in them belong on the test's own goroutine; [Crowd] and [Rig.Get] are for
// the others.
package sessiontest
