package grpcauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

var upload = &grpc.StreamDesc{ClientStreams: true}

// newStream opens a stream of a service without TLS, with a token that is refused.
func newStream(ctx context.Context, t *testing.T, a *authority, desc *grpc.StreamDesc, method string) grpc.ClientStream {
	t.Helper()
	origin, dial := serve(t, a, false)
	conn := dial(grpcauth.Session(newSession(t, a, origin)).Loopback())
	a.revoke()
	s, err := conn.NewStream(ctx, desc, "/test.Echo/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBothSidesWait: large messages both ways, of which a server takes no more than the client
// takes of its answers: neither side of a stream waits for the other within this package.
func TestBothSidesWait(t *testing.T) {
	for _, first := range []int{10, 200 << 10} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := newStream(ctx, t, new(authority), both, "Both")
		sent := make(chan error, 1)
		go func() {
			err := s.SendMsg(wrapperspb.String(strings.Repeat("x", first)))
			for i := 0; i < 30 && err == nil; i++ {
				err = s.SendMsg(wrapperspb.String(strings.Repeat("x", 200<<10)))
			}
			sent <- errors.Join(err, s.CloseSend())
		}()
		got, err := receive(s)
		if sending := <-sent; err != nil || sending != nil || strings.Count(got, "alice ") != 31 {
			t.Errorf("%d: %d answers, %v, %v", first, strings.Count(got, "alice "), err, sending)
		}
	}
}

// TestLateRefusal: the server refuses when it has read some messages, the program sends on from one
// goroutine, and uses its message again. What it sent arrives whole.
func TestLateRefusal(t *testing.T) {
	const n = 900
	for _, reads := range []int{0, 1, 5, 300, n} {
		for _, header := range []string{"", "header"} {
			for _, length := range []int{1, 1000} {
				t.Run(fmt.Sprintf("after %d of %d B %s", reads, length, header), func(t *testing.T) {
					ctx := metadata.AppendToOutgoingContext(t.Context(), "reads", fmt.Sprint(reads))
					if header != "" {
						ctx = metadata.AppendToOutgoingContext(ctx, header, "yes")
					}
					a := new(authority)
					s := newStream(ctx, t, a, upload, "Late")
					m, want := new(text), make([]string, 0, n+1)
					for i := range n {
						m.Value = strings.Repeat("x", length) + fmt.Sprint(i)
						want = append(want, m.Value)
						if err := s.SendMsg(m); errors.Is(err, io.EOF) && header != "" {
							break // it has answered with a header: RecvMsg says why
						} else if err != nil {
							t.Fatal(i, err)
						}
					}
					_ = s.CloseSend()
					out := new(text)
					err := s.RecvMsg(out)
					if header != "" && status.Code(err) == codes.Unauthenticated {
						return // SendMsg was told of the end
					}
					want = append(want[:reads:reads], append([]string{"alice"}, want[reads:]...)...)
					if err != nil || out.Value != strings.Join(want, " ") {
						t.Errorf("%.100q, %v", out.Value, err)
					}
					if a.count() != 1 {
						t.Errorf("%d refreshes", a.count())
					}
				})
			}
		}
	}
}

// TestHeader: who asks for the header first gets that of the attempt that is answered, and a stream
// whose header or context was handed out is not begun again.
func TestHeader(t *testing.T) {
	s := newStream(t.Context(), t, new(authority), &grpc.StreamDesc{ServerStreams: true}, "Server")
	if err := errors.Join(s.SendMsg(wrapperspb.String("a")), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if h, err := s.Header(); err != nil || h == nil {
		t.Errorf("header %v, %v", h, err)
	}
	if got, err := receive(s); err != nil || got != answers["server stream"] {
		t.Errorf("%q, %v", got, err)
	}

	ctx := metadata.AppendToOutgoingContext(t.Context(), "reads", "1", "header", "yes")
	a := new(authority)
	s = newStream(ctx, t, a, upload, "Late")
	if h, err := s.Header(); err != nil || h.Get("early") == nil {
		t.Errorf("header %v, %v", h, err)
	}
	if err := errors.Join(s.SendMsg(wrapperspb.String("a")), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the error is the same, and refreshes once
		if err := s.RecvMsg(new(text)); status.Code(err) != codes.Unauthenticated || a.count() != 1 {
			t.Errorf("%v, %d refreshes", err, a.count())
		}
	}

	s = newStream(ctx, t, new(authority), upload, "Late")
	kept := s.Context()
	if err := errors.Join(s.SendMsg(wrapperspb.String("a")), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(text)); status.Code(err) != codes.Unauthenticated || kept.Err() == nil {
		t.Errorf("%v, context %v", err, kept.Err())
	}

	// Header and RecvMsg by several goroutines.
	s = newStream(t.Context(), t, new(authority), both, "Both")
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = s.Header() })
	wg.Go(func() {
		if err := errors.Join(s.SendMsg(wrapperspb.String("a")), s.CloseSend()); err != nil {
			t.Error(err)
		}
	})
	if got, err := receive(s); err != nil || got != "alice a" {
		t.Errorf("%q, %v", got, err)
	}
	wg.Wait()
}

// TestNothingIsLeft: streams that the program leaves in whatever state, by cancelling them alone,
// and callers who leave while a refresh runs. The bubble finds what is left.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(authority)
		dial, stop := buffered(a)
		session, err := tokenclient.New(tokenclient.Config{Origins: []string{"http://localhost:50051"},
			Refresher: tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				time.Sleep(2 * time.Second) // of the bubble
				return a.Refresh(ctx, old)
			})})
		if err != nil {
			t.Fatal(err)
		}
		if err := session.SetToken(t.Context(), a.issue("alice")); err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient("passthrough:///localhost:50051", append(grpcauth.Session(session).Loopback().DialOptions(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }))...)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			a.revoke()
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%4)*time.Second+time.Second/2)
					defer cancel()
					s, err := conn.NewStream(ctx, both, "/test.Echo/Both")
					if err != nil {
						return
					}
					for range i {
						_ = s.SendMsg(wrapperspb.String(strings.Repeat("x", 4<<10)))
					}
					switch i % 3 {
					case 0: // it is never read
					case 1:
						_ = s.RecvMsg(new(text))
					case 2:
						_, _ = s.Header()
					}
				})
				wg.Go(func() { // who waits for the refresh
					if got, err := unary(t.Context(), conn, "x"); err != nil || got != "alice x" {
						t.Errorf("round %d: %q, %v", round, got, err)
					}
				})
			}
			wg.Wait()
			if a.count() != round+1 {
				t.Errorf("round %d: %d refreshes", round, a.count())
			}
		}
		_ = conn.Close()
		stop()
		if err := session.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
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
	if err := s.SendMsg(wrapperspb.String("from alice")); err != nil && !errors.Is(err, io.EOF) { // RecvMsg says why
		t.Fatal(err)
	}
	out := new(text)
	err = s.RecvMsg(out)
	if _, ok := status.FromError(err); !ok || !errors.Is(err, tokenclient.ErrReplaced) {
		t.Errorf("%q, %v, want ErrReplaced with a status", out.Value, err)
	}
}
