package grpcauth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

// fullStream is a stream to a server that reads nothing until what it said was received.
type fullStream struct {
	grpc.ClientStream
	ctx               context.Context
	sending, received chan struct{}
}

func (f *fullStream) SendMsg(any) error {
	close(f.sending)
	select {
	case <-f.received:
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

func (f *fullStream) RecvMsg(any) error {
	close(f.received)
	return nil
}

// TestSendMsgBlocked: a SendMsg that waits for the server holds nobody up who receives.
func TestSendMsgBlocked(t *testing.T) {
	for name, size := range map[string]int{"kept": 1, "too large to be kept": grpcauth.MaxReplayBytes + 1} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			full := &fullStream{ctx: ctx, sending: make(chan struct{}), received: make(chan struct{})}
			a := new(authority)
			auth := grpcauth.Session(newSession(t, a, "https://rpc.example.com"))
			s, err := auth.Stream(ctx, both, nil, "/test.Echo/Both", func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
				return full, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan error, 1)
			go func() { sent <- s.SendMsg(wrapperspb.Bytes(make([]byte, size))) }()
			<-full.sending
			if err := s.RecvMsg(new(text)); err != nil {
				t.Error(err)
			}
			if err := <-sent; err != nil {
				t.Error("SendMsg held RecvMsg up:", err)
			}
		})
	}
}

// TestNotAsked: Unauthenticated is no refusal of a token that was never sent.
func TestNotAsked(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	conn := dial(grpcauth.Session(newSession(t, a, origin)))
	for kind, call := range kinds {
		if _, err := call(t.Context(), conn); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if n := a.count(); n != 0 {
		t.Errorf("%d refreshes of a token that went nowhere", n)
	}
}

// TestOtherLogin: a stream of one user is not begun again as another one.
func TestOtherLogin(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	session := newSession(t, a, origin)
	conn := dial(grpcauth.Session(session).Loopback())
	a.revoke()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, both, "/test.Echo/Both")
	if err != nil {
		t.Fatal(err)
	}
	if err := session.SetToken(t.Context(), a.issue("bob")); err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(wrapperspb.String("from alice")); err != nil {
		t.Fatal(err)
	}
	out := new(text)
	err = s.RecvMsg(out)
	if _, ok := status.FromError(err); !ok || !errors.Is(err, tokenclient.ErrReplaced) {
		t.Errorf("%q, %v, want ErrReplaced with a status", out.Value, err)
	}
}
