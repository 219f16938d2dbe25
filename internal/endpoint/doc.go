// Package endpoint makes one call of a token endpoint: a refresh, a login, a revocation.
//
// All of these share the same dangers. What is sent holds a credential, which must not go
// anywhere else and, if it is a refresh token, must not be sent twice; whoever gets an
// error must know whether it was sent at all; and what comes back, error or not, may hold
// secrets. This package is about those, and every call goes through it.
//
// # A call and its parts
//
// A [Call] is what is sent, and where to. Its parts can be chosen each by itself:
//
//   - Params are what the grant sends: names and values.
//   - Authenticate adds what proves who the client is, to the params or the header.
//   - Encoding makes a body of the params: [Form] or [JSON].
//   - Attach puts something on the finished request, such as an access token.
//   - Prove puts a proof on it that is good for one sending, and Answered says of an answer
//     that it refuses nothing but that.
//
// [Call.Do] sends it, and returns an [Answer] if there was a complete one. What an
// answer without a token means is a matter of opinion among servers, and so a function of
// the answer: [RefusesGrant] and [RefusesToken] are the two that are known here, and
// whoever makes a call may have another. They decide by a table of codes, which are looked
// for wherever servers put them.
//
// # What is read
//
// [Read] makes [Tokens] of an answer. It was paid for with a token that is spent, so that
// nothing but the lack of an access token is an error. What a body is, is seen from the
// body: JSON or a form, in gzip or after a byte order mark, and with something around it.
// Where the tokens are, [Names] says, or names that are in use, but nothing is guessed if
// two values are in question. A [Clock] reads lifetimes and times, all by one rule, and
// [JWTExpiry] what a token says itself. [Scheme] is what a token type is worth.
//
// # What is promised
//
//   - Nothing is sent to a URL that [Call.Check] refuses: plain http beyond this machine,
//     user information, no host. A redirect is not followed, and is no answer.
//   - The body is sent once, unless the server has refused the proof and nothing else: then it
//     is sent again, twice at most. The request has nothing by which net/http would repeat it.
//     An answer that refuses the proof is no verdict on what was sent.
//   - [Failure.NotPresented] is set only if it is certain that no byte of the body was
//     taken, nor a header sent with what Attach put there; and then nothing takes one later.
//   - A Failure shows no secret that the call sent: neither what was in the params or the
//     header, nor Call.Secrets. Descriptions are searched, cut and cleaned; URLs are not
//     quoted; errors that may hold a secret are replaced. See package redact.
//   - A connection on which the call timed out is not left to the next. See package connections.
//   - No answer is read beyond 1 MiB, unpacked or not, and no part of an answer is quoted
//     but its code, its description and the host that it redirects to.
//
// # What this package does not know
//
// It knows no session, store or token type, and none of the errors that the library's users
// branch on: a Failure is facts, of which the caller makes an error. It never tries again but
// for a proof, and has no clock but for when a call began and for a date in Retry-After.
package endpoint
