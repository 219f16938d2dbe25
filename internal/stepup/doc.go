// Package stepup reads what an API wants beyond a token that is good, and has it asked for
// once.
//
// An API that knows a token may still refuse it for what it asks: the token lacks a scope (RFC
// 6750, section 3.1), the user logged in too long ago or not strongly enough (RFC 9470), or
// something about the session has changed, of which the authorization server must be told (the
// claims challenge of Microsoft Entra). No refresh helps then. [Read] says what is wanted.
//
// Somebody may be able to satisfy it, mostly a person who logs in again. Of many requests with
// the same demand, one asks, and the others wait for the outcome ([Group]). The asking lasts as
// long as somebody waits, and not as long as the request that began it. Who comes with a token
// that is older than the outcome is served by it. A demand that is there again after it was
// asked for, whatever came of that, is not asked for again within [Again]: nobody wants to log
// in over and over for a server that is never satisfied. A server may also demand something else
// each time. So no more than [Most] demands of one maker are asked for within that time, and what
// does not end counts until it does. Whoever is asked may wait for itself: no asking lasts longer
// than [Longest].
//
// A login may be somebody else's, for whom no request of another user may be sent. That of a
// step-up is not, if whoever made it vouches for it ([Logins]); any other still may be.
//
// The package knows nothing of sessions, and nothing of how a demand is satisfied.
package stepup
