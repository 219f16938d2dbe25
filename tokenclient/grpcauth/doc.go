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
// 443. Config.Origins must list that, as for requests of HTTP; to other servers the call fails, and no token is
// sent. Connections without TLS are refused, but for those of [Auth.Loopback] within this
// machine. Calls with a context of [tokenclient.WithoutToken] get no token.
//
// # What is called again
//
// A server refuses a token by codes.Unauthenticated. Of all calls that it refuses, one refreshes
// the token, and all are made again, once:
//
//   - a unary call, always: a server that refuses the token has done nothing;
//   - a stream whose first message was not answered yet, if what was sent by then is no more
//     than [MaxReplayMessages] and [MaxReplayBytes]. It is sent again in the same order, and
//     the program does not notice. Meanwhile messages that the server takes no more are kept,
//     too. Do not change a message after SendMsg, as gRPC demands.
//
// Beyond that the call fails with the server's status, and the token is refreshed for those
// that follow. If refreshed tokens are refused too often, a unary call fails with that status,
// and a stream with an error that says when the next refresh may be. A stream that has been answered is
// never begun again, and outlives its token. What gRPC itself tries again (its service config)
// is below all this. grpc.Header, grpc.Trailer and grpc.Peer are those of the last try;
// grpc.OnFinish is called for each.
//
// # Errors
//
// An error is the server's status, or the session's own: then errors.Is and errors.As find
// [tokenclient.ErrLoginRequired] and the like, and status.FromError a code, Unauthenticated or
// Unavailable.
package grpcauth
