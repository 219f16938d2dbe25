// Package replay is about bodies of requests that may have to be sent twice.
//
// A server that refuses a token does so before, while, or after it reads the body,
// and the base transport may go on reading that body when it has returned the
// answer, or even when the answer was closed. So there are three things to keep
// apart, and a [Body] keeps them:
//
//   - Nobody reads what somebody else reads. All sendings of a request read one
//     source, or may do so: there are bodies whose GetBody rewinds them and returns
//     them again, against the letter of net/http. A sending that is over is cut off
//     first: its next Read fails, its Close does nothing, and GetBody is not called
//     while a Read is at work.
//   - What is sent again is the same to the byte, or is not sent. Without a GetBody a
//     body that can seek is read again from where it stood, and compared with what was
//     read first. Of another a copy is kept, in memory up to a limit, and in a file up
//     to another one if there may be a file; beyond that there is no second
//     sending. A Read that is at work when the second sending takes over is handed on
//     to it: nothing read is lost, nothing is read twice.
//   - The caller's body is closed once, when nobody has a use for it any more. Until
//     then the Close of a sending does not reach it.
//
// A body whose GetBody is net/http's own needs no such care, because each body that
// it gives has a cursor of its own. It passes by untouched, which costs nothing.
//
// With an expectation ("Expect: 100-continue") a body is held back until the server
// has asked for it, so that one of any length can be sent again without a copy, and a
// server that refuses early and hangs up is heard.
//
// The package knows nothing of tokens. A Body is safe for use by the goroutines of
// the base transport beside the one that decides what becomes of it.
package replay
