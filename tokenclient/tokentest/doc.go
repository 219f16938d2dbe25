// Package tokentest is an authorization server and an API for tests: real HTTP,
// real tokens, and a knob for everything that goes wrong between the two. It is
// to access tokens what net/http/httptest is to HTTP.
//
// Most tests need two names, [NewServer] and [Server.Issue]:
//
//	srv := tokentest.NewServer(t, nil) // closes itself
//	token := srv.Issue("alice")        // a pair, as after a login
//	srv.RevokeAccess("alice")          // from now on the API answers 401
//
// [Server.Client] reaches the server, and [Server.OAuth2Refresher],
// [Server.JSONRefresher] and [Server.PasswordLogin] are wired to it. A program
// that has no testing.TB uses [Start]; examples/mockserver is one.
//
// # Endpoints
//
//   - POST /login takes the JSON members username and password and answers a
//     pair: access_token, refresh_token, token_type, expires_in and
//     refresh_expires_in. A wrong password is a 401.
//   - POST /token/refresh takes the JSON member refresh_token and answers a new
//     pair. A missing token is a 400; one that is unknown, expired, spent or
//     revoked is a 401. Both have a JSON body with error and error_description.
//   - POST /oauth/token is the refresh grant of RFC 6749, section 6. Errors are
//     those of section 5.2, so a dead refresh token is a 400 here.
//   - POST /oauth/revoke is RFC 7009. A refresh token takes its whole family
//     with it, an access token only itself. Unknown tokens are a 200 too.
//   - POST /heartbeat takes the access token itself, on the header where the API
//     wants it, and answers a new one of the same family as JSON: access_token,
//     token_type and expires_in. The old one is accepted until its own expiry. A
//     token that is not accepted is a 401 with a JSON body. Whatever the request's
//     body is, it is not read.
//   - Any method at /api/ and below needs an access token and describes the
//     request as JSON: method, path, subject (the user), and the body's length
//     and sha256. With the query echo=1 the answer is the request's body as it
//     came. A token that is not accepted is a 401 with a challenge (RFC 6750,
//     section 3), given before the body is read. With Options.SlidingHeader the
//     answer has a new access token in a header.
//
// Every other path is a 404.
//
// # Tokens
//
// A login begins a family, and every pair that descends from it by refreshing
// belongs to that family. Refresh tokens rotate: each buys one pair. One that is
// presented again has been stolen or was lost on the way, and the server cannot
// tell which, so it revokes the family, access tokens included (RFC 9700,
// section 4.14.2). [Options] has the knobs that soften this. Access tokens are
// independent of each other: each is accepted until its own expiry, however many the
// family has got since.
//
// Both tokens are JWTs, signed with HS256 and a key that only this server has.
// Their claims are sub, iat, exp, jti and family. Times in them are cut to whole
// seconds, but the server judges by the exact time.
//
// # Failures
//
// [Server.FailRefresh] and [Server.FailAPI] make the next calls fail with any
// answer or with none, before or after the call took effect. [Server.Hold]
// keeps API answers back once they are decided, which is how a 401 comes late.
// [Server.Counters] tells afterwards what really happened.
//
// # Time
//
// With Options.InMemory the server has a network of its own that works inside a
// testing/synctest bubble, where an hour takes no time:
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
//		token := srv.Issue("alice")
//		time.Sleep(time.Hour) // token has expired
//		...
//	})
//
// Real sockets hang a bubble. For cut connections and large bodies prefer them
// all the same, outside of a bubble: the network in memory has no buffers and no
// reset.
package tokentest
