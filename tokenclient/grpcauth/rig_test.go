package grpcauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crypto/tls"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

// An authority makes tokens that look like "user 7", and refuses those that it has revoked.
type authority struct {
	mu        sync.Mutex
	good      map[string]string // access token to user
	refreshes int
	broken    error
	dead      bool         // what it issues is refused
	before    func() error // is called before a token is looked at; an error is the answer
}

var issued atomic.Int64 // tokens, by all

func (a *authority) issue(user string) *tokenclient.Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issueLocked(user)
}

func (a *authority) issueLocked(user string) *tokenclient.Token {
	t := &tokenclient.Token{AccessToken: fmt.Sprintf("access-%s-%d", user, issued.Add(1)), RefreshToken: "refresh-" + user, Expiry: time.Now().Add(time.Hour)}
	if a.good == nil {
		a.good = make(map[string]string)
	}
	if !a.dead {
		a.good[t.AccessToken] = user
	}
	return t
}

func (a *authority) revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.good)
}

func (a *authority) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refreshes
}

// Refresh makes an authority a Refresher.
func (a *authority) Refresh(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return nil, a.broken
	}
	a.refreshes++
	return a.issueLocked(strings.TrimPrefix(old.RefreshToken, "refresh-")), nil
}

// user returns whose token a call has.
func (a *authority) user(ctx context.Context) (string, error) {
	if a.before != nil {
		if err := a.before(); err != nil {
			return "", err
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	v := md.Get("authorization")
	if len(v) == 0 {
		return "nobody", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	user, ok := a.good[strings.TrimPrefix(v[0], "Bearer ")]
	if !ok || len(v) != 1 {
		return "", status.Error(codes.Unauthenticated, "token refused")
	}
	return user, nil
}

type text = wrapperspb.StringValue

// service has a call of each kind. Each answers with the user's name and what it got.
func (a *authority) service() *grpc.ServiceDesc {
	stream := func(f func(user string, s grpc.ServerStream) error) grpc.StreamHandler {
		return func(_ any, s grpc.ServerStream) error {
			user, err := a.user(s.Context())
			if err != nil {
				return err
			}
			return f(user, s)
		}
	}
	return &grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(text)
			if err := dec(in); err != nil {
				return nil, err
			}
			user, err := a.user(ctx)
			if err != nil {
				return nil, err
			}
			return wrapperspb.String(user + " " + in.Value), nil
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Client", ClientStreams: true, Handler: stream(func(user string, s grpc.ServerStream) error {
				got := []string{user}
				for {
					in := new(text)
					if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
						return s.SendMsg(wrapperspb.String(strings.Join(got, " ")))
					} else if err != nil {
						return err
					}
					got = append(got, in.Value)
				}
			})},
			{StreamName: "Late", ClientStreams: true, Handler: a.late},
			{StreamName: "Server", ServerStreams: true, Handler: stream(func(user string, s grpc.ServerStream) error {
				in := new(text)
				if err := s.RecvMsg(in); err != nil {
					return err
				}
				for i := range 3 {
					if err := s.SendMsg(wrapperspb.String(fmt.Sprint(user, " ", in.Value, " ", i))); err != nil {
						return err
					}
				}
				return nil
			})},
			{StreamName: "Both", ClientStreams: true, ServerStreams: true, Handler: stream(func(user string, s grpc.ServerStream) error {
				for {
					in := new(text)
					if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
						return nil
					} else if err != nil {
						return err
					}
					if err := s.SendMsg(wrapperspb.String(user + " " + in.Value)); err != nil {
						return err
					}
				}
			})},
		},
	}
}

// late reads as many messages as the call's metadata says, before it looks at the token.
func (a *authority) late(_ any, s grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	reads, _ := strconv.Atoi(strings.Join(md.Get("reads"), ""))
	if md.Get("header") != nil {
		if err := s.SendHeader(metadata.Pairs("early", "yes")); err != nil {
			return err
		}
	}
	var got []string
	for n := 0; ; n++ {
		if n == reads {
			user, err := a.user(s.Context())
			if err != nil {
				return err
			}
			got = append(got, user)
		}
		in := new(text)
		if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.String(strings.Join(got, " ")))
		} else if err != nil {
			return err
		}
		got = append(got, in.Value)
	}
}

var both = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// serve runs a's service, and returns its origin and what a client needs to reach it.
func serve(t testing.TB, a *authority, secure bool) (origin string, dial func(*grpcauth.Auth, ...grpc.DialOption) *grpc.ClientConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serverOptions []grpc.ServerOption
	transport := insecure.NewCredentials()
	origin = "http://" + l.Addr().String()
	if secure {
		certificate, roots := newCertificate(t)
		serverOptions = append(serverOptions, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}})))
		transport = credentials.NewTLS(&tls.Config{RootCAs: roots})
		origin = "https://" + l.Addr().String()
	}
	s := grpc.NewServer(serverOptions...)
	s.RegisterService(a.service(), a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return origin, func(auth *grpcauth.Auth, more ...grpc.DialOption) *grpc.ClientConn {
		options := append(auth.DialOptions(), grpc.WithTransportCredentials(transport))
		conn, err := grpc.NewClient(l.Addr().String(), append(options, more...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func newCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// newSession returns one of a's, of alice.
func newSession(t testing.TB, a *authority, origins ...string) *tokenclient.Session {
	t.Helper()
	s, err := tokenclient.New(tokenclient.Config{Refresher: a, Origins: origins})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	if err := s.SetToken(t.Context(), a.issue("alice")); err != nil {
		t.Fatal(err)
	}
	return s
}

// unary calls Unary.
func unary(ctx context.Context, conn *grpc.ClientConn, say string, opts ...grpc.CallOption) (string, error) {
	out := new(text)
	err := conn.Invoke(ctx, "/test.Echo/Unary", wrapperspb.String(say), out, opts...)
	return out.Value, err
}
