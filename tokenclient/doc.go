// Package tokenclient makes expired access tokens invisible: wrap an
// [http.Client], and each request leaves with the current token, tokens are
// refreshed before they expire, and a request that a server refuses with 401 is
// sent again after one refresh, however many requests were refused. When the
// refresh token itself is refused, the program is told once, clearly, that a
// login is needed.
//
// Most programs need two names: [New] makes a [Session] from a [Config], and
// [Session.Wrap] makes a client from a client.
//
//	session, err := tokenclient.New(tokenclient.Config{
//		Refresher: &tokenclient.JSONRefresher{TokenURL: "https://api.example.com/token/refresh"},
//		Store:     files, Key: "alice", // from package store; without them, in memory
//		Origins:   []string{"https://api.example.com"},
//	})
//	...
//	defer session.Close(ctx) // and look at its error
//	client := session.Wrap(http.DefaultClient)
//
// A first token comes from a login, such as [PasswordLogin] or the flows of
// golang.org/x/oauth2, by way of [Session.SetToken], or from the Store.
//
// # One refresh
//
// Within a process, all requests of a Session wait for the same refresh. It runs
// on a context of its own: a request whose context ends leaves, and the refresh
// goes on. Between processes that share a [Store], one exchanges the refresh token
// and the others take what it stored. The new pair is stored before anybody uses
// it, and if it cannot be stored it is used all the same, stored as soon as
// possible, and reported (see [Hooks] and [Session.Close]).
//
// No protocol can save a session whose process dies after the server has rotated
// the refresh token and before the answer is stored, if the server is strict about
// reuse. What is promised instead: a refresh token is presented again only after
// an answer was lost, and never by two processes at the same time.
//
// # Any token endpoint
//
// [OAuth2Refresher] and [JSONRefresher] have the same parts: how the client proves who it is
// ([ClientAuth]), what is exchanged ([Grant]), how that is written ([Encoding]), the names of
// what is sent ([RequestFields]) and read ([JSONFields]), and which [Answer] is final. With
// a Grant that needs no refresh token a Session needs no login.
//
// # Several audiences
//
// Where a server issues an access token for one API at a time, Config.Audiences names the
// others: one login, one refresh token, and a token for each [Audience], which requests to its
// origins get.
//
// # Many users
//
// A [Pool] has the sessions of many users over one Store, and one client for the
// requests of all, which say by [WithKey] for whom they are.
//
// # Servers that renew the token
//
// Some servers send a new token with their answers, and lock out whoever sends
// nothing for the lifetime of one. Config.Renewed finds such a token, and
// [RenewedHeader] where it mostly is. The session uses it at once and stores it in
// the background; of answers that overlap the first wins, and a late one never
// brings an older token back. If there is a Refresher too, [Session.KeepFresh]
// keeps an idle session alive; see JSONRefresher.Attacher for endpoints that take
// the access token itself. An access token that has expired is of no use there: it is
// sent with the next request, for the server may renew it still, and taken to the
// Refresher only if the server refuses it. Without a Refresher the server's 401 is final.
//
// # Where tokens may go
//
// Only to the origins in the Config, over https or within this machine, and not
// to where a redirect leads. A request on which the caller set the header already, in
// whatever spelling, is left alone, unless it was set to a token of the session (see
// Config.ReplaceHeader).
//
// Behind one address there may be many hosts, of which only one is to see the token.
// So the server must be told the host of the request's URL, or one of Config.Hosts: by
// Request.Host, and by the request line, which net/http makes of URL.Opaque and
// URL.Path. A request to an allowed origin that tells it another is an error, and is not
// sent. Mostly it comes from a gateway: httputil.NewSingleHostReverseProxy, and
// ReverseProxy.Director in general, pass the Host header of whoever sent the request on
// to the API. Use ReverseProxy.Rewrite with ProxyRequest.SetURL in their place, as the
// example of [Pool.Transport] does; or clear Request.Host; or, if the API is to be told
// these names, list them.
//
// Nothing in this package prints a token: not its types with any verb of package fmt,
// nor its errors, nor its log lines.
//
// # Connections
//
// A path between two machines can die without a word. Over HTTP/2 net/http then goes on to
// send requests on the dead connection, each of which times out, until the operating system
// gives up, which takes Linux a quarter of an hour. So no call to a token endpoint leaves
// such a connection to the next:
//
//   - A Refresher or login whose HTTPClient is nil, or has no Transport, makes connections
//     of its own, just as http.DefaultTransport would (proxies, TLS, idle timeout), and with
//     pings: one that is dead is found out within 15 seconds, before RefreshTimeout is over.
//     After a call that timed out none of the earlier connections is used again.
//   - In a Transport of the program's, idle connections are closed after such a call, those to
//     other hosts too, and the call that follows asks for a connection that nobody uses after
//     it. Over HTTP/2 that one may be lost as well, before all is well again.
//
// The connections to the API are those of Transport.Base, of which a session changes nothing.
// They find out by themselves if they have pings. Such a Transport is as good for HTTPClient:
//
//	base := http.DefaultTransport.(*http.Transport).Clone()
//	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
//	client := session.Wrap(&http.Client{Transport: base})
//
// # Watching it
//
// [Hooks] tell a program what happens, and package otelhooks makes metrics and spans
// of it. Config.Logger gets these lines, with keys that do not change. Messages
// begin with "tokenclient: ", and each line has the key "key", which is Config.Key.
//
//	level  message                                           further keys
//	DEBUG  refresh started                                   generation, cause
//	DEBUG  token refreshed                                   generation, cause, duration, waiters, expiry
//	DEBUG  token adopted                                     generation, cause, duration, waiters, expiry
//	DEBUG  refresh overtaken                                 generation, cause, duration, waiters, err
//	WARN   refresh failed                                    generation, cause, duration, waiters, err
//	WARN   token endpoint keeps refusing                     generation, refusals, err
//	WARN   answer to a refresh lost, trying once more        err
//	DEBUG  token rejected                                    generation, method, origin
//	DEBUG  request sent again                                method, origin
//	WARN   sent without a token: not in Config.Origins       origin, near, differs
//	WARN   sent without a token: the caller set the header   origin, header
//	WARN   refreshed tokens refused too often                generation, origin, until, expiry
//	DEBUG  token renewed by the server                       generation, expiry
//	DEBUG  token in an answer ignored                        err
//	WARN   step-up failed                                    origin, err
//	DEBUG  step-up not asked for                             origin, err
//	ERROR  token not saved                                   generation, err
//	INFO   session ended                                     err
//	WARN   token that lost to a login or logout not revoked  err
//	ERROR  panic contained                                   in, stack
//
// Their values are those of [RefreshInfo]: generation, waiters and refusals are integers,
// duration is a time.Duration, until and expiry are times, err is an error, which leaves out
// the key, and the others are strings.
//
// # Errors
//
// A request fails with [ErrLoginRequired] if only a login helps, with a
// [*TokenError] if the token endpoint failed, with [ErrStoreUnavailable] or
// [ErrStoreCorrupt] if the store did, with [ErrReplaced] if it was refused or waited and
// somebody else may have logged in meanwhile, and with the context's error if that ended.
// All of them work with [errors.Is] and [errors.As] through [*url.Error]. They are
// lost, however, behind http.Client.Timeout: prefer contexts with a deadline.
//
// # Time
//
// Lifetimes are measured from when a token was asked for, wherever the server
// states them relative to that, so that the difference between two clocks does
// not matter. A clock that is wrong costs at most one refused request per token,
// which the caller does not see.
// Between many requests the clock is read ten times a second: for the first tenth
// of a second after a machine slept, or its clock was set, a token may be sent that has
// expired meanwhile, which costs no more than that either.
package tokenclient
