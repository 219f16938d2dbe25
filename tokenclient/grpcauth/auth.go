package grpcauth

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
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
		c := a.credentials(s)
		return c.judge(invoker(ctx, method, req, reply, cc, with(opts, c)...))
	})
	return told(err)
}

// with returns opts and c.
func with(opts []grpc.CallOption, c *creds) []grpc.CallOption {
	return append(slices.Clip(opts), grpc.PerRPCCredentials(c))
}

// creds are the credentials of one try.
type creds struct {
	credentials.PerRPCCredentials

	mu    sync.Mutex // guards the rest
	asked bool       // gRPC has asked for the token; without TLS it may not
	err   error      // why there is no token
}

func (a *Auth) credentials(s *tokenclient.Session) *creds {
	c := s.PerRPCCredentials()
	if a.loopback {
		c = c.Loopback()
	}
	return &creds{PerRPCCredentials: c}
}

// GetRequestMetadata keeps the error, of which gRPC leaves the text.
func (c *creds) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	md, err := c.PerRPCCredentials.GetRequestMetadata(ctx, uri...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = true
	if err != nil {
		c.err = err
	}
	return md, err
}

// judge returns what err, of a call with c, means: a token that was refused, none, or anything
// else.
func (c *creds) judge(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case c.err != nil: // gRPC says nothing but its text
		return failed(c.err)
	case c.asked && status.Code(err) == codes.Unauthenticated:
		return &refusal{err}
	}
	return err
}

// A refusal is a status by which a server refuses the token.
type refusal struct{ error }

func (e *refusal) Is(target error) bool { return target == tokenclient.ErrRejected }

// told returns err as the caller of gRPC gets it.
func told(err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return r.error
	}
	if _, ok := status.FromError(err); ok { // nil, too
		return err
	}
	return failed(err)
}

// A failure is an error of the session's as a status.
type failure struct {
	error
	code codes.Code
}

func failed(err error) error {
	code := codes.Unavailable
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = status.FromContextError(err).Code()
		if code == codes.Unknown { // it is wrapped
			code = codes.Canceled
			if errors.Is(err, context.DeadlineExceeded) {
				code = codes.DeadlineExceeded
			}
		}
	case errors.Is(err, tokenclient.ErrStoreUnavailable), temporary(err):
	default:
		code = codes.Unauthenticated
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
