package redisstore_test

import (
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
)

// watching watches key, and returns where it is told.
func watching(t *testing.T, kv store.KV) (told <-chan struct{}, hears func() bool, stop func()) {
	t.Helper()
	calls := make(chan struct{}, 1)
	hears, stop = kv.(store.Notifier).Watch(key, func() {
		select {
		case calls <- struct{}{}:
		default:
		}
	})
	t.Cleanup(stop)
	return calls, hears, stop
}

func wantTell(t *testing.T, told <-chan struct{}, when string) {
	t.Helper()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Fatalf("not told: %s", when)
	}
}

// TestStopWaitsForNobody: who has waited for a token long enough goes on, though the client
// waits for a Redis that broke the connection and does not answer on the next.
func TestStopWaitsForNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := connect(t, &redis.Options{Addr: l.Addr().String(), ReadTimeout: -1, DisableIdentity: true})
	_, _, stop := watching(t, redisstore.New(c, "p:"))
	for broken := true; ; broken = false {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if broken {
			_ = conn.Close()
			continue
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // the client has sent, and waits
			t.Fatal(err)
		}
		break
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("stop waits for a Redis that does not answer")
	}
}

// TestAccountOfWatches: one that may not subscribe hears nothing, and its swaps are swaps all the
// same; what the package documentation adds to its rights is enough to hear of them.
func TestAccountOfWatches(t *testing.T) {
	for rights, may := range map[string]bool{"": false, " resetchannels +publish +subscribe": false, " resetchannels &p:* +publish +subscribe": true} {
		s := servers.Redis(t, "user default on nopass ~p:* -@all +ping +getex +evalsha +eval +get +set"+rights)
		kv := redisstore.New(connect(t, &redis.Options{Addr: s.Address}), "p:")
		told, hears, _ := watching(t, kv)
		if may {
			wantTell(t, told, "it hears"+rights)
		}
		mustSwap(t, kv, nil, one)
		mustSwap(t, kv, one, two)
		if may {
			wantTell(t, told, "of a swap"+rights)
		}
		mustHave(t, kv, two)
		if hears() != may {
			t.Errorf("with the rights%q it hears: %v", rights, hears())
		}
	}
}
