package redisstore_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
)

// wantTold checks what a KV over c says of a Get and a CompareAndSwap that fail.
func wantTold(t *testing.T, c redis.UniversalClient, want string, is error, secrets ...string) {
	t.Helper()
	kv := redisstore.New(c, "tokens:")
	_, getErr := kv.Get(t.Context(), key)
	_, casErr := kv.CompareAndSwap(t.Context(), key, nil, []byte("VALUE"))
	for op, err := range map[string]error{"GETEX": getErr, "EVALSHA": casErr} {
		if err == nil || !strings.HasPrefix(err.Error(), "redisstore: "+op+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", op, err, want)
			continue
		}
		for _, secret := range append(secrets, "VALUE", "app_user", "hunter2") {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v names %s", op, err, secret)
			}
		}
		if is != nil && !errors.Is(err, is) {
			t.Errorf("%s: %v is not %v", op, err, is)
		}
	}
}

// TestFailures: what the client says names hosts. What this package makes of it does not.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string
		is   error
	}{
		"refused": {&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 6379},
			Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "cannot be reached: connection refused", syscall.ECONNREFUSED},
		"name":  {&net.DNSError{Err: "no such host", Name: "redis", Server: "10.1.2.3:53", IsNotFound: true}, "its name cannot be looked up", nil},
		"cut":   {io.EOF, "the connection broke", io.EOF},
		"other": {errors.New("no way to 10.1.2.3"), "the client failed with a *errors.errorString", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, &redis.Options{
				Addr: "db.internal:6379", MaxRetries: -1, DialerRetries: 1,
				Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, c.err },
			})
			wantTold(t, client, c.want, c.is, "10.1.2.3", "db.internal", "lookup")
		})
	}
}

// TestFailuresOfServers, each of which is one that a person has to do something about.
func TestFailuresOfServers(t *testing.T) {
	t.Parallel()
	s := servers.Redis(t)
	admin := connect(t, &redis.Options{Addr: s.Address})
	for _, user := range [][]any{ // its own last
		{"app_user", "on", ">hunter2", "~*", "+@all", "-getex", "-evalsha", "-eval"},
		{"default", "resetpass", ">hunter2"},
	} {
		if err := admin.Do(t.Context(), append([]any{"acl", "setuser"}, user...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		o    redis.Options
		want string
	}{
		"no password":    {redis.Options{}, "NOAUTH: it wants a password"},
		"wrong password": {redis.Options{Password: "hunter3"}, "WRONGPASS: it refused the user or the password"},
		"wrong user":     {redis.Options{Username: "nobody", Password: "hunter2"}, "WRONGPASS: it refused the user or the password"},
		"no right":       {redis.Options{Username: "app_user", Password: "hunter2"}, "NOPERM: the user lacks the right"},
		"no database":    {redis.Options{Password: "hunter2", DB: 99}, "there is no such database"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Addr, c.o.MaxRetries = s.Address, -1
			wantTold(t, connect(t, &c.o), c.want, nil, s.Address)
		})
	}
	closed := redis.NewClient(&redis.Options{Addr: s.Address})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	wantTold(t, closed, "the client is closed", redis.ErrClosed)
	s.Stop()
	wantTold(t, connect(t, &redis.Options{Addr: s.Address, MaxRetries: -1}), "Redis cannot be reached: connection refused", syscall.ECONNREFUSED, s.Address)
}
