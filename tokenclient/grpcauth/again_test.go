package grpcauth_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth"
)

// TestManyRefusals: refreshes that help are not bounded, however many, and those that do not help are:
// what is refused then gets the server's own status, of whatever kind it is.
func TestManyRefusals(t *testing.T) {
	for kind, call := range kinds {
		for _, dead := range []bool{false, true} {
			a := new(authority)
			origin, dial := serve(t, a, false)
			conn := dial(grpcauth.Session(newSession(t, a, origin)).Loopback())
			a.dead = dead
			for range 10 {
				a.revoke()
				got, err := call(t.Context(), conn)
				switch {
				case !dead && (err != nil || got != answers[kind]):
					t.Errorf("%s: %q, %v", kind, got, err)
				case dead && !isServers(err):
					t.Errorf("%s: %v, want the server's own status", kind, err)
				}
			}
			if n := a.count(); n != map[bool]int{false: 10, true: 3}[dead] {
				t.Errorf("%s: %d refreshes, dead %v", kind, n, dead)
			}
		}
	}
}

// isServers reports whether err is the server's refusal, beside an end of the stream.
func isServers(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "rpc error: code = Unauthenticated desc = token refused")
}

// TestNoRefresher: there is no other token, and each kind of call gets the server's own status.
func TestNoRefresher(t *testing.T) {
	for kind, call := range kinds {
		a := new(authority)
		origin, dial := serve(t, a, false)
		session, err := tokenclient.New(tokenclient.Config{Renewed: tokenclient.RenewedHeader("X-Token"), Origins: []string{origin}})
		if err != nil {
			t.Fatal(err)
		}
		if err := session.SetToken(t.Context(), a.issue("alice")); err != nil {
			t.Fatal(err)
		}
		a.revoke()
		_, err = call(t.Context(), dial(grpcauth.Session(session).Loopback()))
		if !isServers(err) {
			t.Errorf("%s: %v, want the server's own status", kind, err)
		}
		if err := session.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

const retries = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "100s",
	"maxBackoff": "100s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// TestBelow: what gRPC itself does again, or holds back until there is a connection, lasts longer than
// the token. It goes out with the next one, for which there is one refresh, and never as another user.
func TestBelow(t *testing.T) {
	for name, c := range map[string]struct {
		ready       time.Duration // when there is a connection
		unavailable int32         // answers before the first that is not
		revoked     bool          // they end the token, too
		other       bool          // logs in meanwhile
		refreshes   int
	}{
		"waits for ready":                         {ready: 5 * time.Minute, refreshes: 1},
		"is retried":                              {unavailable: 1, refreshes: 1},
		"is retried three times":                  {unavailable: 3, refreshes: 1},
		"waits and is retried":                    {ready: 5 * time.Minute, unavailable: 2, refreshes: 1},
		"is retried, and the token ends by that":  {unavailable: 1, revoked: true, refreshes: 1},
		"waits for ready while another logs in":   {ready: 5 * time.Minute, other: true},
		"is retried while another logs in":        {unavailable: 1, other: true},
		"is retried longer while another logs in": {unavailable: 3, other: true},
	} {
		for kind, call := range kinds {
			if kind == "both" && c.unavailable > 0 {
				continue // gRPC holds a mutex while it waits, for which the other side cannot wait in a bubble
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := new(authority)
					var asked atomic.Int32
					a.before = func() error {
						if n := asked.Add(1); n > c.unavailable {
							return nil
						}
						if c.revoked {
							a.revoke()
						}
						return status.Error(codes.Unavailable, "try again")
					}
					session, conn := inMemory(t, a, c.ready)
					token := a.issue("alice")
					token.Expiry = time.Now().Add(time.Minute)
					if err := session.SetToken(t.Context(), token); err != nil {
						t.Fatal(err)
					}
					if c.other {
						go func() {
							time.Sleep(10 * time.Second)
							if err := session.SetToken(t.Context(), a.issue("bob")); err != nil {
								t.Error(err)
							}
						}()
					}
					got, err := call(t.Context(), conn)
					switch {
					case c.other && !errors.Is(err, tokenclient.ErrReplaced):
						t.Errorf("%q, %v, want ErrReplaced", got, err)
					case !c.other && (err != nil || got != answers[kind]):
						t.Errorf("%q, %v", got, err)
					}
					if n := a.count(); n != c.refreshes {
						t.Errorf("%d refreshes, want %d", n, c.refreshes)
					}
				})
			})
		}
	}
}

// TestLeft: a stream that was begun again, and is left by closing its connection, leaves nothing.
// The bubble finds what is left.
func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(authority)
		session, conn := inMemory(t, a, 0)
		if err := session.SetToken(t.Context(), a.issue("alice")); err != nil {
			t.Fatal(err)
		}
		a.revoke()
		s, err := conn.NewStream(context.Background(), both, "/test.Echo/Both")
		if err != nil {
			t.Fatal(err)
		}
		for a.count() == 0 { // SendMsg finds out that the stream was refused
			if err := s.SendMsg(wrapperspb.String("x")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

// buffered starts a's service in memory, and returns how to connect to it and how to stop it.
func buffered(a *authority) (dial func(context.Context) (net.Conn, error), stop func()) {
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	server.RegisterService(a.service(), a)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	return l.DialContext, func() {
		server.Stop()
		<-served
	}
}

// inMemory returns a session and a connection, within a bubble, to a's service, which is there after
// that time. Calls wait for it.
func inMemory(t *testing.T, a *authority, ready time.Duration) (*tokenclient.Session, *grpc.ClientConn) {
	t.Helper()
	dial, stop := buffered(a)
	session, err := tokenclient.New(tokenclient.Config{Origins: []string{"http://localhost:50051"}, Refresher: a})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now().Add(ready)
	conn, err := grpc.NewClient("passthrough:///localhost:50051", append(grpcauth.Session(session).Loopback().DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(retries),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if time.Now().Before(from) {
				return nil, errors.New("not there yet")
			}
			return dial(ctx)
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := session.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return session, conn
}
