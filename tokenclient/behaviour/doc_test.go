// Package behaviour_test holds what package tokenclient promises, as tests that see no more
// of it than a user does: each has a session, a server or what stands for one, and looks at
// what both did. What a test shares with those beside the code is in internal/sessiontest.
//
// A file is named after its subject first, in the words of the sources:
//
//   - session_… is what becomes of a token: refreshes and those who wait for them, logins
//     and logouts, failures of the token endpoint and of the store, clocks, servers that
//     renew a token by themselves, several sessions over one store.
//   - pool_… is the sessions of many users: how they come and go, in what order they are
//     refreshed, and what they cost.
//   - transport_… is what becomes of a request: the contract of http.RoundTripper, where the
//     token may go, replays and their bodies, "100 Continue".
//   - refresher_…, attacher_… and store_… are the user's own code in these places, well
//     behaved or not.
//   - secrets_… looks for secrets in all that is printed, logged or returned.
//   - token_… is how long a token lives.
//   - standards_… has the examples of the RFCs, as they are printed. docs/standards.md has
//     what they ask for, section by section.
//
// A file …_rig_test.go has no tests: it is a rig that only this subject needs.
package behaviour_test
