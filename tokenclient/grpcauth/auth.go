package grpcauth

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// An Auth puts tokens on calls. Make one with [Session] or [Pool]. It is safe for concurrent
// use, and may serve any number of connections.
type Auth struct {
	session  func(ctx context.Context) (*tokenclient.Session, error)
	loopback bool
}

// Session returns an Auth for the tokens of s.
func Session(s *tokenclient.Session) *Auth {
	return &Auth{session: func(context.Context) (*tokenclient.Session, error) {
		if s == nil {
			return nil, errors.New("grpcauth: the Session is nil")
		}
		return s, nil
	}}
}

// Pool returns an Auth for calls whose context says whose token they get, by
// [tokenclient.WithKey]. A call without a key is [tokenclient.ErrNoKey].
func Pool(p *tokenclient.Pool) *Auth {
	return &Auth{session: func(ctx context.Context) (*tokenclient.Session, error) {
		return p.Session(ctx, tokenclient.KeyFrom(ctx))
	}}
}

// Loopback returns an Auth for connections within this machine, with or without TLS. Its
// tokens go to loopback addresses alone, which Config.Origins lists with http: see
// [tokenclient.PerRPCCredentials.Loopback].
func (a *Auth) Loopback() *Auth { return &Auth{a.session, true} }

// DialOptions returns the options of a connection whose calls get tokens.
func (a *Auth) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(a.Unary), grpc.WithChainStreamInterceptor(a.Stream)}
}

// Unary is a [grpc.UnaryClientInterceptor].
func (a *Auth) Unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if !tokenclient.WantsToken(ctx) {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	s, err := a.session(ctx)
	if err != nil {
		return failed(err)
	}
	err = s.Do(ctx, func(ctx context.Context, _ *tokenclient.Token) error {
		c := a.credentials(s, opts)
		return c.judge(invoker(ctx, method, req, reply, cc, with(opts, c)...))
	})
	return told(err)
}

// with returns opts and c.
func with(opts []grpc.CallOption, c *creds) []grpc.CallOption {
	return append(slices.Clip(opts), grpc.PerRPCCredentials(c))
}

// An outcome is what came of a call: an error that is not the session's.
type outcome struct {
	error
	refused bool // the server refused the token
}

func (e *outcome) Is(target error) bool { return e.refused && target == tokenclient.ErrRejected }

// told returns err, of Do, as the caller of gRPC gets it: that of the call as it is.
func told(err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *outcome:
		return e.error
	}
	return failed(err)
}

// A failure is an error of the session's as a status.
type failure struct {
	error
	code codes.Code
}

func failed(err error) error {
	code := codes.Unauthenticated
	switch {
	case errors.Is(err, tokenclient.ErrLoginRequired):
	case errors.Is(err, tokenclient.ErrStoreUnavailable), temporary(err): // a timeout of theirs is none of the call's
		code = codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return &failure{err, code}
}

func temporary(err error) bool {
	var te *tokenclient.TokenError
	return errors.As(err, &te) && te.Temporary()
}

func (e *failure) Unwrap() error { return e.error }

// GRPCStatus is for status.FromError.
func (e *failure) GRPCStatus() *status.Status { return status.New(e.code, e.Error()) }
