package grpcauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

// kinds calls each kind of method, and returns what came back.
var kinds = map[string]func(ctx context.Context, conn *grpc.ClientConn) (string, error){
	"unary": func(ctx context.Context, conn *grpc.ClientConn) (string, error) { return unary(ctx, conn, "a") },
	"client stream": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/test.Echo/Client")
		if err != nil {
			return "", err
		}
		for i := range 50 { // some of them when the server has refused by then
			if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); errors.Is(err, io.EOF) {
				break // RecvMsg says why
			} else if err != nil {
				return "", err
			}
			runtime.Gosched()
		}
		if err := s.CloseSend(); err != nil {
			return "", err
		}
		out := new(text)
		err = s.RecvMsg(out)
		return out.Value, err
	},
	"server stream": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Echo/Server")
		if err != nil {
			return "", err
		}
		if err := errors.Join(s.SendMsg(wrapperspb.String("a")), s.CloseSend()); err != nil {
			return "", err
		}
		return receive(s)
	},
	"both": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		s, err := conn.NewStream(ctx, both, "/test.Echo/Both")
		if err != nil {
			return "", err
		}
		sent := make(chan error, 1)
		go func() {
			for i := range 20 {
				if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
					sent <- err
					return
				}
			}
			sent <- s.CloseSend()
		}()
		got, err := receive(s)
		return got, errors.Join(err, <-sent)
	},
}

var answers = map[string]string{
	"unary": "alice a", "client stream": "alice " + numbers(50, ""), "server stream": "alice a 0|alice a 1|alice a 2", "both": numbers(20, "alice "),
}

func numbers(n int, before string) string {
	var list []string
	for i := range n {
		list = append(list, before+fmt.Sprint(i))
	}
	if before == "" {
		return strings.Join(list, " ")
	}
	return strings.Join(list, "|")
}

func receive(s grpc.ClientStream) (string, error) {
	var got []string
	for {
		out := new(text)
		switch err := s.RecvMsg(out); {
		case errors.Is(err, io.EOF):
			return strings.Join(got, "|"), nil
		case err != nil:
			return "", err
		}
		got = append(got, out.Value)
	}
}

// TestCalls: each kind of call goes on over a token that the server has revoked, or that has
// expired, with TLS and within this machine.
func TestCalls(t *testing.T) {
	for _, secure := range []bool{true, false} {
		for kind, call := range kinds {
			t.Run(fmt.Sprintf("%s, TLS %v", kind, secure), func(t *testing.T) {
				a := new(authority)
				origin, dial := serve(t, a, secure)
				session := newSession(t, a, origin)
				auth := grpcauth.Session(session)
				if !secure {
					auth = auth.Loopback()
				}
				conn := dial(auth)
				for refreshes := range 3 {
					got, err := call(t.Context(), conn)
					if err != nil || got != answers[kind] {
						t.Fatalf("%q, %v", got, err)
					}
					if n := a.count(); n != refreshes {
						t.Errorf("%d refreshes, want %d", n, refreshes)
					}
					if refreshes == 0 {
						a.revoke()
					} else if err := session.SetToken(t.Context(), &tokenclient.Token{AccessToken: "old", RefreshToken: "refresh-alice", Expiry: time.Now()}); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestThousandCalls: a thousand calls meet a dead token at once, of which one refreshes it.
func TestThousandCalls(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, true)
	session := newSession(t, a, origin)
	conn := dial(grpcauth.Session(session))
	each := 250
	if testing.Short() {
		each = 25
	}
	for round := range 3 { // the third over one that has expired
		var wg sync.WaitGroup
		var failed atomic.Int32
		for range each {
			for kind, call := range kinds {
				wg.Go(func() {
					if got, err := call(t.Context(), conn); err != nil || got != answers[kind] {
						failed.Add(1)
						t.Errorf("%s: %q, %v", kind, got, err)
					}
				})
			}
		}
		wg.Wait()
		if n := a.count(); n != round || failed.Load() > 0 {
			t.Fatalf("round %d: %d refreshes, %d calls failed", round, n, failed.Load())
		}
		a.revoke()
		if round == 1 {
			if err := session.SetToken(t.Context(), &tokenclient.Token{AccessToken: "old", RefreshToken: "refresh-alice", Expiry: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPool: each call has the token of its own user.
func TestPool(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	memory := new(store.Memory)
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: memory,
		Config: func(context.Context, string) (tokenclient.Config, error) {
			return tokenclient.Config{Refresher: a, Origins: []string{origin}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(context.Background())
	conn := dial(grpcauth.Pool(pool).Loopback())
	const users = 20
	for i := range users {
		user := fmt.Sprint("user", i)
		if _, _, err := memory.Replace(t.Context(), user, a.issue(user)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		var wg sync.WaitGroup
		for i := range users * 10 {
			wg.Go(func() {
				user := fmt.Sprint("user", i%users)
				if got, err := unary(tokenclient.WithKey(t.Context(), user), conn, "x"); err != nil || got != user+" x" {
					t.Errorf("%s: %q, %v", user, got, err)
				}
			})
		}
		wg.Wait()
		a.revoke()
	}
	if n := a.count(); n != users {
		t.Errorf("%d refreshes for %d users", n, users)
	}
	if _, err := unary(t.Context(), conn, "x"); !errors.Is(err, tokenclient.ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	if got, err := unary(tokenclient.WithoutToken(t.Context()), conn, "x"); err != nil || got != "nobody x" {
		t.Errorf("without a token: %q, %v", got, err)
	}
}

// TestErrors: they are the session's and gRPC's, and a token goes nowhere else.
func TestErrors(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	loggedOut := newSession(t, a, origin)
	if err := loggedOut.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := new(authority)
	ended.broken = fmt.Errorf("%w: revoked", tokenclient.ErrLoginRequired)
	away := new(authority)
	away.broken = &tokenclient.TokenError{StatusCode: 503}
	for name, c := range map[string]struct {
		auth *grpcauth.Auth
		is   error
		text string
		code codes.Code
	}{
		"logged out":           {grpcauth.Session(loggedOut).Loopback(), tokenclient.ErrLoginRequired, "", codes.Unauthenticated},
		"the login is over":    {grpcauth.Session(newSession(t, ended, origin)).Loopback(), tokenclient.ErrLoginRequired, "", codes.Unauthenticated},
		"the endpoint is down": {grpcauth.Session(newSession(t, away, origin)).Loopback(), nil, "503", codes.Unavailable},
		"another origin":       {grpcauth.Session(newSession(t, a, "http://localhost:1")).Loopback(), nil, "not in Config.Origins", codes.Unauthenticated},
		"no session":           {grpcauth.Session(nil), nil, "Session is nil", codes.Unauthenticated},
		"a plain connection":   {grpcauth.Session(newSession(t, a, origin)), nil, "", codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(c.auth)
			for kind, call := range kinds {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				_, err := call(ctx, conn)
				cancel()
				s, ok := status.FromError(err)
				if err == nil || !ok || s.Code() != c.code || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v (%v)", kind, err, s.Code())
				}
				if strings.Contains(fmt.Sprint(err), "access-") {
					t.Errorf("%s: the error shows the token: %v", kind, err)
				}
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := unary(ctx, dial(grpcauth.Session(newSession(t, a, origin)).Loopback()), "x"); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
	})
}

// TestLongStream: what is too long to be kept is not begun again, and the next one has the new
// token. One that was answered outlives its token.
func TestLongStream(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	conn := dial(grpcauth.Session(newSession(t, a, origin)).Loopback())
	send := func() error {
		s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/test.Echo/Client")
		if err != nil {
			return err
		}
		if err := s.SendMsg(wrapperspb.String(strings.Repeat("x", 1<<20))); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := s.CloseSend(); err != nil {
			return err
		}
		return s.RecvMsg(new(text))
	}
	a.revoke()
	if err := send(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a long stream with a dead token: %v", err)
	}
	if err := send(); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if n := a.count(); n != 1 {
		t.Errorf("%d refreshes", n)
	}

	s, err := conn.NewStream(t.Context(), both, "/test.Echo/Both")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if i == 1 {
			a.revoke()
		}
		out := new(text)
		if err := s.SendMsg(wrapperspb.String("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(out); err != nil || out.Value != "alice x" {
			t.Fatalf("message %d: %q, %v", i, out.Value, err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := s.RecvMsg(new(text)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestOptions: what the options of a call are filled with is of the last try.
func TestOptions(t *testing.T) {
	a := new(authority)
	origin, dial := serve(t, a, false)
	conn := dial(grpcauth.Session(newSession(t, a, origin)).Loopback())
	a.revoke()
	var header, trailer metadata.MD
	if _, err := unary(t.Context(), conn, "x", grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if header.Get("content-type") == nil {
		t.Errorf("header %v", header)
	}
	a.revoke()
	s, err := conn.NewStream(t.Context(), both, "/test.Echo/Both")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(text)); err != nil {
		t.Fatal(err)
	}
	if h, err := s.Header(); err != nil || h.Get("content-type") == nil || s.Context() == nil {
		t.Errorf("header %v, %v", h, err)
	}
	_ = s.CloseSend()
	_ = s.RecvMsg(new(text))
	_ = s.Trailer()
}
