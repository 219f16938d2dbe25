// Package tokentest is an authorization server and an API for tests: real HTTP,
// real tokens, and a knob for everything that goes wrong between the two. It is
// to access tokens what net/http/httptest is to HTTP.
//
// Most tests need two names, [NewServer] and [Server.Issue]. [Server.Client] reaches
// the server, and [Server.OAuth2Refresher], [Server.JSONRefresher] and
// [Server.PasswordLogin] are wired to it. A program that has no testing.TB uses
// [Start]; examples/mockserver is one.
//
// # Tutorial
//
// What follows are tests of a program that fetches orders. A test of yours calls
// your program where these call fetch, and compares where they print:
//
//	func fetch(srv *tokentest.Server, session *tokenclient.Session) string {
//		resp, err := session.Wrap(srv.Client()).Get(srv.URL + "/api/orders")
//		switch {
//		case errors.Is(err, tokenclient.ErrLoginRequired):
//			return "log in again"
//		case err != nil:
//			return "try again later"
//		}
//		resp.Body.Close()
//		return resp.Status
//	}
//
// A test begins with a server and with what the program makes of it. It may run in
// a bubble of testing/synctest, where an hour takes no time; then the server needs
// the network in memory, as real sockets hang a bubble:
//
//	func TestOrders(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
//			session, err := tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}})
//			if err != nil {
//				t.Fatal(err)
//			}
//			defer session.Close(t.Context())
//			if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
//				t.Fatal(err)
//			}
//			time.Sleep(time.Hour) // the access token has expired
//			if got := fetch(srv, session); got != "200 OK" || srv.Counters().Refreshes != 1 {
//				t.Error(got)
//			}
//		})
//	}
//
// Login, with a password. For logins in a browser and by device code
// [Server.Approve] plays the person; the examples of packages login and xoauth2 show them.
//
//	srv.AddUser("alice", "secret")
//	fmt.Println(fetch(srv, session)) // log in again
//	_, err := srv.PasswordLogin().Login(ctx, "alice", "wrong")
//	fmt.Println("wrong password:", err != nil) // true
//	token, err := srv.PasswordLogin().Login(ctx, "alice", "secret")
//	if err == nil {
//		err = session.SetToken(ctx, token)
//	}
//	fmt.Println(fetch(srv, session), err) // 200 OK
//
// Expiry, outside of a bubble: the token is refreshed before the server sees it.
//
//	srv.Set(func(o *tokentest.Options) { o.AccessLifetime = -1 })
//	err := session.SetToken(ctx, srv.Issue("alice")) // has expired already
//	srv.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Hour })
//	fmt.Println(fetch(srv, session), err) // 200 OK
//	seen := srv.Counters()
//	fmt.Println("refreshes:", seen.Refreshes, "refused:", seen.Unauthorized) // 1, 0
//
// Revocation, of the access token and then of everything:
//
//	err := session.SetToken(ctx, srv.Issue("alice"))
//	srv.RevokeAccess("alice")
//	fmt.Println(fetch(srv, session), err)                // 200 OK
//	fmt.Println("refused:", srv.Counters().Unauthorized) // 1
//	srv.RevokeAll("alice")
//	fmt.Println(fetch(srv, session)) // log in again
//
// Outage, of the token endpoint: nobody must be asked to log in.
//
//	err := session.SetToken(ctx, srv.Issue("alice"))
//	srv.RevokeAccess("alice")
//	srv.FailRefresh(-1, tokentest.Fault{Status: http.StatusServiceUnavailable})
//	fmt.Println(fetch(srv, session), err) // try again later
//	srv.FailRefresh(0, tokentest.Fault{}) // it is back
//	_, err = session.Refresh(ctx)         // or wait: a test in a bubble can
//	fmt.Println(fetch(srv, session), err) // 200 OK
//
// Logout, of which the server is told:
//
//	token := srv.Issue("alice")
//	err := errors.Join(session.SetToken(ctx, token), session.Logout(ctx))
//	fmt.Println(fetch(srv, session), err)                   // log in again
//	fmt.Println("revocations:", srv.Counters().Revocations) // 1
//	_, err = srv.OAuth2Refresher().Refresh(ctx, token)
//	fmt.Println("its refresh token is dead:", errors.Is(err, tokenclient.ErrLoginRequired)) // true
//
// # Endpoints
//
//   - POST /login takes the JSON members username and password and answers a
//     pair: access_token, refresh_token, token_type, expires_in and
//     refresh_expires_in. A wrong password is a 401.
//   - POST /token/refresh takes the JSON member refresh_token and answers a new
//     pair. A missing token is a 400; one that is unknown, expired, spent or
//     revoked is a 401. Both have a JSON body with error and error_description.
//   - POST /oauth/token is the token endpoint of RFC 6749, for refresh tokens
//     (section 6), authorization codes, device codes, and client credentials, whose
//     access token is for a user of the name of the client. Errors are those of
//     section 5.2, so a dead refresh token is a 400 here.
//   - GET /oauth/authorize sends the browser back with an authorization code
//     (RFC 6749, section 4.1) and the server's name as iss (RFC 9207), once
//     [Server.Approve] was called. Before, it is a page for a browser where a person gives a
//     name and approves or refuses, by a POST to the same URL. PKCE (RFC 7636)
//     with S256 is required, and any client_id and absolute redirect_uri will
//     do. A code that comes twice ends the family of its tokens.
//   - POST /oauth/device answers a device code and a user code (RFC 8628) to wait
//     for Server.Approve with.
//   - GET /device is the page at the verification_uri, where a person enters a user
//     code and a name, and approves or refuses what Server.Approve would for all. It
//     posts to the same path. Codes may be written in small letters and without the
//     dash. One that no device waits with is a 400.
//   - GET /.well-known/oauth-authorization-server is the metadata of RFC 8414.
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
// Every other path is a 404, unless [Server.Handle] was told of it.
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
// answer or with none, before or after the call took effect. A session gets over one
// lost answer of the token endpoint by itself: FailRefresh says what to write in order
// to see a failure. [Server.Hold]
// keeps API answers back once they are decided, which is how a 401 comes late.
// [Server.Counters] tells afterwards what really happened, and [Server.Observe] meanwhile: an
// [Event] for each request, with fingerprints in the place of tokens. Package page draws them
// for a browser, on the server itself ([Server.Handle]).
//
// # Servers that speak otherwise
//
// Options.Dialect has a server read and word what the standards say in another way: a form or
// nested objects in the place of flat JSON, error codes of its own, a refusal with status
// 200. Package dialect has those of well-known servers. With Options.Lag the API learns of
// new tokens late.
//
// # Tokens that are bound to keys
//
// Options.DPoP has the server bind tokens to keys, and verify the proofs of clients strictly
// (RFC 9449), with or without nonces. Options.ClockSkew then shows in the Date of its answers.
// [Server.IssueBound] makes a pair without a login.
//
// # More than a token
//
// With Options.Demands the API wants a scope, a stronger or fresher login, or claims (RFC 6750,
// RFC 9470, and as Microsoft Entra does it). A login has what its authorization request asked
// for, and [Server.IssueFor] makes a pair of one without the network.
//
// # Networks
//
// With Options.InMemory the server has a network of its own that works inside a
// testing/synctest bubble. For cut connections and large bodies prefer a loopback
// port all the same, outside of a bubble: the network in memory has no buffers and
// no reset. Options.HTTP2 is for either.
package tokentest
