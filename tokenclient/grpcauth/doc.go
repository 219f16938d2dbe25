// Package grpcauth puts the tokens of a [tokenclient.Session], or of the users of a
// [tokenclient.Pool], on calls of gRPC, refreshes a token that the server refuses, and makes
// the call again:
//
//	conn, err := grpc.NewClient("dns:///api.example.com:443", append(grpcauth.Session(session).DialOptions(),
//		grpc.WithTransportCredentials(credentials.NewTLS(nil)))...)
//
// # Where tokens go
//
// gRPC says to which server a call goes, "https://api.example.com", with the port unless it is
// 443, and asks for the token when it has the connection. Config.Origins must list that server, as
// for requests of HTTP; to others the call fails, and no token is sent. Connections without TLS are
// refused, but for those of [Auth.Loopback] within this machine. Calls with a context of
// [tokenclient.WithoutToken] get no token, nor do those on which the program has set the token's
// header, by metadata or by credentials of the call. Other credentials of the call are sent
// beside it.
//
// # What is called again
//
// A server refuses a token by codes.Unauthenticated. Of all calls that it refuses, one refreshes
// the token, and all are made again, once:
//
//   - a unary call, always: a server that refuses the token has done nothing;
//   - a stream whose first message was not answered yet, if what was sent by then are messages of
//     protobuf of no more than 1 MiB. Copies of them are sent again in the same order, and the
//     program does not notice: it may use its messages again. Who reads nothing before
//     everything is sent has it begun again by SendMsg.
//
// Beyond that the call fails with the server's status, and what was too long to be kept has the
// token refreshed for those that follow. A stream that has been answered is never begun again, and
// outlives its token. Nor is one whose Header or Context the program has: it would be another.
// If refreshed tokens are refused too often, or there is no Config.Refresher, calls of all kinds fail
// with the server's status; a refresh after which one is accepted does not count.
//
// What gRPC itself tries again (its service config), or holds back until there is a connection, is
// below all this. If the token is about to expire by then it goes out with the next one, or, if
// somebody else logged in meanwhile, fails with [tokenclient.ErrReplaced]. grpc.Header,
// grpc.Trailer and grpc.Peer are those of the last try; grpc.OnFinish and stats handlers see each.
//
// A stream has to be read to its end, or its context cancelled, as gRPC demands.
//
// # Errors
//
// An error is the server's status, or the session's own: then errors.Is and errors.As find
// [tokenclient.ErrLoginRequired] and the like, and status.FromError a code: Unauthenticated,
// Unavailable if that may pass, or that of the call's own context. Errors of other interceptors
// come as they are.
package grpcauth
